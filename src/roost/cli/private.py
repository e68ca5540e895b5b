"""A server of one's own: started as a process, used through the API like any other, stopped at the end."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.sandbox.bubblewrap import BubblewrapBackend

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


class NotStarted(Exception):
    """The server did not come up; the message holds its last words."""


@dataclass(frozen=True)
class PrivateServer:
    """A running server that belongs to this process."""

    url: str
    api_key: str
    pid: int
    isolation: str
    models: str


@contextmanager
def private_server(data_dir: Path, environ: Mapping[str, str] | None = None) -> Iterator[PrivateServer]:
    """A server on a free loopback port, over that data folder. Raises NotStarted.

    It ends with this block, and should this process die before, when its standard input closes.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    api_key = f"sk-roost-{secrets.token_urlsafe(32)}"
    log_file = data_dir / "server.log"
    process = _start(data_dir, log_file, {**(os.environ if environ is None else environ), "ROOST_API_KEY": api_key})
    try:
        said = _announcement(process)
        if "url" not in said:
            raise NotStarted(f"the server did not start: {_last_words(log_file)}")
        yield PrivateServer(said["url"], api_key, process.pid, said.get("isolation", ""), said.get("models", ""))
    finally:
        _stop(process)


def _start(data_dir: Path, log_file: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """`roost serve` by this very Python, in a process group of its own, so that a Ctrl-C here does not reach it."""
    serve = [sys.executable, "-m", "roost.cli", "serve", "--host", "127.0.0.1", "--port", "0", "--until-eof"]
    with log_file.open("wb") as log:
        return subprocess.Popen(
            [*serve, "--data", str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environ,
            text=True,
            start_new_session=True,
        )


async def end_sandboxes(data_dir: Path) -> None:
    """Sandboxes outlive their server by design. Those of a server that is thrown away must not."""
    backend = BubblewrapBackend(data_dir / "sandboxes")
    try:
        for session_id in await backend.living():
            await backend.forget(session_id)
    finally:
        await backend.aclose()


def _announcement(process: subprocess.Popen[str]) -> dict[str, str]:
    """What `roost serve` prints once it listens, until its empty line; nothing when it ends or takes too long."""
    impatience = threading.Timer(START_TIMEOUT_S, process.kill)
    impatience.start()
    said: dict[str, str] = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.strip():
                return said
            label, _, value = line.strip().partition("  ")
            said[label.lower().replace("listening", "url")] = value.strip()
        return {}
    finally:
        impatience.cancel()


def _last_words(log_file: Path) -> str:
    lines = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    return re.sub(r"^Error: ", "", lines[-1]) if lines else "it said nothing"


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
