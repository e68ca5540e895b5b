"""`roost doctor`: what this machine and these settings give."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click

from roost.cli.connection import answers, default_model, server_url
from roost.cli.settings import settings
from roost.core.settings import Settings, variable
from roost.core.telemetry import redact
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import Capability
from roost.wire.tools import UNBUILT_TOOLS

Report = Mapping[str, str | list[str]]


@click.command("doctor")
def command() -> None:
    """Say what this machine and these settings give.

    Really starts a sandbox and looks from inside. The exit status is 1 when no sandbox works: the server would then
    refuse every tool call.
    """
    chosen = settings()
    capability = asyncio.run(probe())
    show({**machine(capability), **configuration(chosen)})
    raise SystemExit(int(not capability.available))


async def probe() -> Capability:
    """What the backend gives here, in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="roost-doctor-") as folder:
        backend = BubblewrapBackend(Path(folder))
        try:
            return await backend.probe()
        finally:
            await backend.aclose()


def machine(capability: Capability) -> Report:
    if not capability.available:
        return {"Isolation": "none", "Remedy": capability.why_not}
    return {
        "Isolation": capability.isolation,
        "Enforced": list(capability.limits),
        "Lacks": list(capability.lacks),
    }


def configuration(chosen: Settings) -> Report:
    url = server_url(chosen)
    claude = f"Claude models at {chosen.anthropic_base_url}" if chosen.anthropic_api_key else "no ANTHROPIC_API_KEY"
    return {
        "Models": [claude, "the scripted model", f"`roost run` asks {default_model(chosen)}"],
        "Not offered": f"{', '.join(UNBUILT_TOOLS)}: agents may name them, models do not see them yet",
        "Server": f"{url} {'answers' if answers(url) else 'does not answer'}",
        "Key": f"ROOST_API_KEY is {'set' if chosen.api_key else 'not set'}",
        "Data": str(chosen.data_dir.absolute()),
        "Settings": [f"{variable(item.name)}={os.environ[variable(item.name)]}" for item in _changed(chosen)]
        or "all at their defaults",
    }


def _changed(chosen: Settings) -> list[Field[Any]]:
    """Those that the environment sets, keys apart."""
    return [
        item
        for item in fields(chosen)
        if item.repr and getattr(chosen, item.name) != item.default and variable(item.name) in os.environ
    ]


def show(report: Report) -> None:
    """Print it, fit to be pasted into a bug report: addresses may hold passwords."""
    for label, value in report.items():
        lines = value if isinstance(value, list) else [value]
        for first, line in enumerate(lines):
            click.echo(redact(f"{'' if first else label:12} {line}".rstrip()))
