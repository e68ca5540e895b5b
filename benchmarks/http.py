"""A client that costs next to nothing: HTTP/1.1 over a plain connection, so that the server is what is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson


class Connection:
    """One kept-alive connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    async def request(self, method: str, path: str, body: Any = None) -> bytes:
        """The body of a success. Raises RuntimeError for anything else."""
        await self._send(method, path, body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        content = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(content.decode())
        return content

    async def post(self, path: str, body: Any) -> Any:
        return orjson.loads(await self.request("POST", path, body))

    async def events(self, path: str) -> AsyncIterator[str]:
        """The names of a stream's events as they come, once the stream is attached."""
        await self._send("GET", path, None)
        await self._reader.readuntil(b"\r\n\r\n")
        return self._names()

    async def _send(self, method: str, path: str, body: Any) -> None:
        content = b"" if body is None else orjson.dumps(body)
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{len(content)}\r\n\r\n".encode() + content)
        await self._writer.drain()

    async def _names(self) -> AsyncIterator[str]:
        while line := await self._reader.readline():
            if line.startswith(b"event: "):
                yield line[7:].strip().decode()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def connected(url: str, headers: Mapping[str, str]) -> AsyncIterator[Connection]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 24)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"host: {parts.netloc}\r\ncontent-type: application/json\r\n{lines}content-length: "
    connection = Connection(reader, writer, head)
    try:
        yield connection
    finally:
        await connection.close()
