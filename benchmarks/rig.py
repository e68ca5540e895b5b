"""A server to measure: in this process, on loopback, with the scripted model, and a client that reads raw frames."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import orjson

from roost.cli.private import private_server
from roost.core.settings import Settings
from roost.server import Running, running


@dataclass
class Rig:
    """A client of a server, and an agent with an environment to make sessions from."""

    client: httpx2.AsyncClient
    folder: Path
    agent_id: str
    environment_id: str
    pid: int
    """The server's process."""

    @classmethod
    async def of(cls, client: httpx2.AsyncClient, folder: Path, pid: int) -> Rig:
        tools = [{"type": "agent_toolset_20260401"}]
        agent = await _made(client, "/v1/agents", name="bench", model="scripted", tools=tools)
        return cls(client, folder, agent, await _made(client, "/v1/environments", name="bench"), pid)

    async def session(self, **body: Any) -> str:
        created = await self.post(
            "/v1/sessions", {"agent": self.agent_id, "environment_id": self.environment_id, **body}
        )
        return str(created["id"])

    async def post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        reply = await self.client.post(path, json=body)
        reply.raise_for_status()
        parsed: Mapping[str, Any] = reply.json()
        return parsed

    async def say(self, session_id: str, text: str) -> None:
        message = {"type": "user.message", "content": [{"type": "text", "text": text}]}
        await self.post(f"/v1/sessions/{session_id}/events", {"events": [message]})

    @asynccontextmanager
    async def stream(self, session_id: str) -> AsyncIterator[AsyncIterator[str]]:
        """The names of the session's events as they come."""
        path = f"/v1/sessions/{session_id}/events/stream"
        async with self.client.stream("GET", path) as reply:
            reply.raise_for_status()
            yield _names(reply)


async def _names(reply: httpx2.Response) -> AsyncIterator[str]:
    async for line in reply.aiter_lines():
        if line.startswith("event: "):
            yield line.removeprefix("event: ")


async def until(names: AsyncIterator[str], wanted: str) -> None:
    async for name in names:
        if name == wanted:
            return
    raise RuntimeError(f"the stream ended before {wanted}")


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
        with private_server(folder / "data", environ) as server:
            async with _client(server.url, server.api_key) as client:
                yield await Rig.of(client, folder, server.pid)


@asynccontextmanager
async def same_process() -> AsyncIterator[tuple[Rig, Running]]:
    """A server in this process, for what must be put into its log from outside."""
    logging.disable(logging.INFO)
    with TemporaryDirectory(prefix="roost-bench-") as name:
        folder = Path(name)
        settings = Settings(data_dir=folder / "data", port=0, api_key="sk-roost-benchmark", rate_limits=None)
        async with running(settings) as server, _client(server.url, settings.api_key) as client:
            yield await Rig.of(client, folder, os.getpid()), server


def _client(url: str, key: str) -> httpx2.AsyncClient:
    headers = {"x-api-key": key, "anthropic-version": "2023-06-01", "anthropic-beta": "managed-agents-2026-04-01"}
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx2.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=120)


async def _made(client: httpx2.AsyncClient, path: str, **body: Any) -> str:
    reply = await client.post(path, json=body)
    reply.raise_for_status()
    return str(reply.json()["id"])
