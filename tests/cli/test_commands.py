"""What the commands say when there is nothing to talk to."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from roost.cli import COMMANDS, main
from roost.cli.private import NotStarted, private_server
from tests.cli.conftest import clean_environ


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a port that is taken and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def roost(*arguments: str, **environ: str | None) -> Result:
    clean = {name: None for name in os.environ if name.startswith(("ROOST_", "ANTHROPIC_"))}
    return CliRunner().invoke(main, arguments, env={**clean, **environ})


def test_help_lists_every_command_with_its_sentence() -> None:
    shown = roost("--help").output
    for name, (_, sentence) in COMMANDS.items():
        assert f"  {name}" in shown
        assert sentence in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = roost(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {name}")


def test_an_unknown_command_is_refused() -> None:
    assert roost("frobnicate").exit_code == 2


@pytest.mark.parametrize("arguments", [["ps"], ["tail", "sesn_x"], ["kill", "sesn_x"]])
def test_without_a_key_a_command_says_where_to_get_one(arguments: list[str]) -> None:
    result = roost(*arguments)
    assert result.exit_code == 1
    assert "ROOST_API_KEY is not set" in result.output


def test_without_a_server_a_command_names_the_address_and_the_remedy(nowhere: str) -> None:
    result = roost("ps", ROOST_API_KEY="k", ROOST_URL=nowhere)
    assert result.exit_code == 1
    assert f"no server answers at {nowhere}: start one with `roost serve`, or set ROOST_URL" in result.output


def test_without_an_operators_key_the_missing_file_is_named(tmp_path: Path) -> None:
    result = roost("keys", "list", ROOST_DATA_DIR=str(tmp_path))
    assert result.exit_code == 1
    assert str(tmp_path / "admin.key") in result.output


def test_a_setting_that_cannot_be_used_ends_a_command_and_a_misspelt_one_is_reported() -> None:
    result = roost("ps", ROOST_PORT="x", ROOST_DATA_DRI="/tmp")
    assert result.exit_code == 1
    assert "did you mean ROOST_DATA_DIR?" in result.output
    assert "Error: ROOST_PORT must be a whole number, not 'x'" in result.output


def test_doctor_shows_no_password(nowhere: str) -> None:
    environ = {
        "ROOST_UPSTREAM_PROXY": "http://me:hush-proxy@proxy.test:3128",
        "ANTHROPIC_BASE_URL": "https://hush-token@gateway.test",
        "ANTHROPIC_API_KEY": "hush-key",
        "ROOST_URL": nowhere.replace("//", "//me:hush-url@"),
    }
    result = roost("doctor", **environ)
    assert "Claude models at https://[redacted]@gateway.test" in result.output
    assert "hush" not in result.output


@pytest.mark.parametrize("text", [None, "not a plan"])
def test_a_plan_that_cannot_be_played_ends_the_start_in_one_line(tmp_path: Path, text: str | None) -> None:
    plan = tmp_path / "plan"
    if text:
        plan.write_text(text)
    environ = {**clean_environ(), "ROOST_SCRIPTED_PLAN": str(plan)}
    with (
        pytest.raises(NotStarted, match=f"start: ROOST_SCRIPTED_PLAN cannot be played: {plan}"),
        private_server(tmp_path / "data", environ),
    ):
        pass
    assert "Traceback" not in (tmp_path / "data" / "server.log").read_text()


def test_a_private_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    environ = {**os.environ, "ROOST_LEASE_TTL_S": "soon"}
    with pytest.raises(NotStarted, match="ROOST_LEASE_TTL_S must be a number"), private_server(tmp_path, environ):
        pass
