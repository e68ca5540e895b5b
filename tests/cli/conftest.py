"""One real server for the commands, as a process, with the scripted model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import pytest
from click.testing import CliRunner, Result

from roost.cli import main
from roost.cli.connection import client
from roost.cli.private import PrivateServer, end_sandboxes, private_server

Roost = Callable[..., Result]


def clean_environ(**more: str) -> dict[str, str]:
    """This process's environment without anything that sets up Roost or a model."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "ANTHROPIC_"))}
    return {**kept, **more}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands") / "data"


@pytest.fixture(scope="session")
def server(data_dir: Path) -> Iterator[PrivateServer]:
    with private_server(data_dir, clean_environ()) as server:
        yield server
    asyncio.run(end_sandboxes(data_dir))


@pytest.fixture
def sandboxed(server: PrivateServer) -> PrivateServer:
    """The server, where this machine gives a sandbox."""
    if server.isolation.startswith("none"):
        pytest.skip(server.isolation)
    return server


@pytest.fixture
def api(server: PrivateServer) -> Iterator[anthropic.Anthropic]:
    with client(server.url, server.api_key) as api:
        yield api


@pytest.fixture
def roost(server: PrivateServer, data_dir: Path) -> Roost:
    """Runs a command against the server."""
    environ: dict[str, str | None] = {name: None for name in os.environ if name not in clean_environ()}
    environ |= {"ROOST_URL": server.url, "ROOST_API_KEY": server.api_key, "ROOST_DATA_DIR": str(data_dir)}

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environ)

    return call
