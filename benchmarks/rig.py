"""A server to measure: in this process, on loopback, with the scripted model, and a client that reads raw frames."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks.http import Connection, connected
from roost.cli.private import end_sandboxes, private_server
from roost.core.settings import Settings
from roost.server import Running, running

HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "managed-agents-2026-04-01"}


@dataclass
class Rig:
    """A client of a server, and an agent with an environment to make sessions from."""

    url: str
    key: str
    folder: Path
    pid: int
    """The server's process."""
    agent_id: str = ""
    environment_id: str = ""

    @classmethod
    async def of(cls, url: str, key: str, folder: Path, pid: int) -> Rig:
        rig = cls(url, key, folder, pid)
        async with rig.connect() as connection:
            agent = {"name": "bench", "model": "scripted", "tools": [{"type": "agent_toolset_20260401"}]}
            rig.agent_id = (await connection.post("/v1/agents", agent))["id"]
            rig.environment_id = (await connection.post("/v1/environments", {"name": "bench"}))["id"]
        return rig

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        return connected(self.url, HEADERS | {"x-api-key": self.key})

    async def session(self) -> str:
        async with self.connect() as connection:
            body = {"agent": self.agent_id, "environment_id": self.environment_id}
            return str((await connection.post("/v1/sessions", body))["id"])

    @asynccontextmanager
    async def chat(self, session_id: str | None = None) -> AsyncIterator[Chat]:
        """A session, a new one unless it is named, with its stream open."""
        session_id = session_id or await self.session()
        async with self.connect() as sending, self.connect() as reading:
            names = await reading.events(f"/v1/sessions/{session_id}/events/stream")
            yield Chat(session_id, sending, names)


@dataclass
class Chat:
    """A session that is talked to and listened to."""

    session_id: str
    sending: Connection
    names: AsyncIterator[str]

    async def turn(self, text: str, until: str = "session.status_idle") -> None:
        """Says something and waits for an event."""
        message = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        await self.sending.post(f"/v1/sessions/{self.session_id}/events", {"events": [message]})
        async for name in self.names:
            if name == until:
                return
        raise RuntimeError(f"the stream ended before {until}")


def plan(steps: Sequence[Mapping[str, Any]]) -> str:
    """A user message that gives the scripted model its plan."""
    lines = "\n".join(orjson.dumps(step).decode() for step in steps)
    return f"```roost-script\n{lines}\n```"


@asynccontextmanager
async def own_process() -> AsyncIterator[Rig]:
    """A server as users run it. What it costs is then its own, and this process is the client alone."""
    with TemporaryDirectory(prefix="roost-bench-") as name:
        folder = Path(name)
        environ = {**os.environ, "ROOST_RATE_LIMITS": "off", "ROOST_LOG_LEVEL": "warning"}
        try:
            with private_server(folder / "data", environ) as server:
                yield await Rig.of(server.url, server.api_key, folder, server.pid)
        finally:
            await end_sandboxes(folder / "data")


@asynccontextmanager
async def same_process() -> AsyncIterator[tuple[Rig, Running]]:
    """A server in this process, for what must be put into its log from outside."""
    logging.disable(logging.INFO)
    with TemporaryDirectory(prefix="roost-bench-") as name:
        folder = Path(name)
        settings = Settings(data_dir=folder / "data", port=0, api_key="sk-roost-benchmark", rate_limits=None)
        async with running(settings) as server:
            yield await Rig.of(server.url, settings.api_key, folder, os.getpid()), server
            await server.fleet.end_all()
