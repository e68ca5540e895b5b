"""A proxy whose resolver is a table and whose dialer leads every address to servers of the test on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from roost.proxy.egress import EgressProxy
from roost.proxy.exchange import Passage
from roost.proxy.framing import HEAD_BYTES_MAX
from roost.proxy.route import Route, Streams, shut
from roost.sandbox.interface import Networking

SESSION = "sesn_1"
WAIT_S = 10
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class World:
    """What lies outside: names with their answers, and a server behind each (address, port)."""

    names: dict[str, Sequence[str]] = field(default_factory=dict)
    servers: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    dialled: list[tuple[str, int]] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)
    passages: asyncio.Queue[Passage] = field(default_factory=asyncio.Queue)

    async def passage(self) -> Passage:
        """The next one that was reported."""
        async with asyncio.timeout(WAIT_S):
            return await self.passages.get()

    async def resolve(self, host: str) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]

    async def dial(self, address: str, port: int) -> Streams:
        self.dialled.append((address, port))
        if (address, port) not in self.servers:
            raise ConnectionRefusedError(111, "Connection refused")
        return await asyncio.open_connection(*self.servers[address, port], limit=HEAD_BYTES_MAX)

    @asynccontextmanager
    async def server(self, address: str, port: int, handler: Handler) -> AsyncIterator[None]:
        tasks: set[asyncio.Task[None]] = set()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await handler(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                tasks.discard(task)
                await shut(writer)

        server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
        self.servers[address, port] = server.sockets[0].getsockname()[:2]
        try:
            yield
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Client:
    """A program in a sandbox, with one connection to the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    async def head(self) -> str:
        async with asyncio.timeout(WAIT_S):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read()


class Sandbox:
    """The proxy as one sandbox sees it."""

    def __init__(self, proxy: EgressProxy, socket_path: Path) -> None:
        self.proxy = proxy
        self.path = socket_path
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(str(self.path)))
        self._clients.append(client)
        return client

    async def ask(self, *lines: str, body: bytes = b"") -> str:
        """The whole answer to one request on a connection of its own."""
        client = await self.connect()
        await client.send(*lines, body=body)
        return (await client.rest()).decode()

    async def aclose(self) -> None:
        for client in self._clients:
            await shut(client.writer)
        await self.proxy.aclose()


Open = Callable[..., Awaitable[Sandbox]]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def sandbox(world: World, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a sandbox by networking rules; `route` and `proxy` hold further arguments of theirs."""
    made: list[Sandbox] = []

    async def open_one(
        networking: Networking | None = None,
        *,
        route: dict[str, object] | None = None,
        proxy: dict[str, object] | None = None,
    ) -> Sandbox:
        way = Route(**{"resolve": world.resolve, "dial": world.dial, **(route or {})})  # type: ignore[arg-type]
        egress = EgressProxy(way, report=lambda _, passage: world.passages.put_nowait(passage), **(proxy or {}))  # type: ignore[arg-type]
        one = Sandbox(egress, tmp_path / "egress.sock")
        made.append(one)
        await egress.open(SESSION, one.path, networking or Networking())
        return one

    yield open_one
    for one in made:
        await one.aclose()
