"""HTTP/1.1 messages on a stream (RFC 9112): a head read strictly, a body copied by its declared length.

Whatever two programs could read differently is refused: both length headers, two lengths, folded or odd header lines,
bare line feeds. What is written is made anew from what was understood, so nothing passes through unread.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES_MAX = 32_768
HEADERS_MAX = 100
CHUNK_BYTES = 65_536

Framing = int | Literal["chunked", "close"]
"""How long a body is: a number of bytes, chunks, or until the sender closes."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[\t ]*(;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip


class BadMessage(Exception):
    """A message that is not HTTP/1.1 as it must be written. The message names the rule, never the bytes."""


@dataclass(frozen=True, slots=True)
class Head:
    """A start line in its three parts, and the header lines in order."""

    start: tuple[str, str, str]
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def members(self, name: str) -> list[str]:
        """The lower-case members of a comma-separated header."""
        return [part.strip().lower() for value in self.values(name) for part in value.split(",") if part.strip()]

    def end_to_end(self) -> Iterable[tuple[str, str]]:
        """The headers that a proxy passes on (RFC 9110 section 7.6.1)."""
        named = _HOP_BY_HOP.union(self.members("connection"))
        return ((key, value) for key, value in self.headers if key.lower() not in named)


def encode_head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [start, *(f"{key}: {value}" for key, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, or None when the peer has ended properly between messages. Raises BadMessage."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BadMessage("the message ends inside its head") from None
        return None
    except asyncio.LimitOverrunError:
        raise BadMessage(f"the head is longer than {HEAD_BYTES_MAX} bytes") from None
    return parse_head(raw)


def parse_head(raw: bytes) -> Head:
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    start = [*first.split(" ", 2), ""]  # a status line may come without its reason
    if len(start) < 3 or not _VALUE.fullmatch(first):
        raise BadMessage("the start line must have three parts")
    if len(lines) > HEADERS_MAX:
        raise BadMessage(f"more than {HEADERS_MAX} header lines")
    return Head((start[0], start[1], start[2]), tuple(_header(line) for line in lines))


def _header(line: str) -> tuple[str, str]:
    name, separator, value = line.partition(":")
    if not separator or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadMessage("a header line is not `name: value`")
    return name, value.strip("\t ")


def request_framing(head: Head) -> Framing:
    """The length of a request's body; 0 when none is declared. Raises BadMessage."""
    framing = _declared(head, version=head.start[2])
    return 0 if framing is None else framing


def response_framing(head: Head, method: str) -> Framing:
    """The length of a response's body (RFC 9112 section 6.3). Raises BadMessage."""
    framing = _declared(head, version=head.start[0])
    status = head.start[1]
    if method == "HEAD" or status in ("204", "304") or status.startswith("1"):
        return 0
    return "close" if framing is None else framing


def _declared(head: Head, version: str) -> Framing | None:
    lengths, codings = head.values("content-length"), head.members("transfer-encoding")
    if codings:
        if lengths or codings != ["chunked"] or version != "HTTP/1.1":
            raise BadMessage("transfer-encoding must be `chunked` alone, without content-length, in HTTP/1.1")
        return "chunked"
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
        raise BadMessage("content-length must be one number")
    return int(lengths[0])


async def copy_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framing: Framing, moved: Callable[[int], None]
) -> None:
    """Copy a body of that framing; `moved` hears the size of each piece. Raises BadMessage for a cut or odd body."""
    if framing == "close":
        while piece := await reader.read(CHUNK_BYTES):
            await _write(writer, piece, moved)
    elif framing == "chunked":
        await _copy_chunks(reader, writer, moved)
    else:
        await _copy_exactly(reader, writer, framing, moved)


async def _copy_chunks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[int], None]
) -> None:
    while size := await _chunk_size(reader):
        writer.write(b"%x\r\n" % size)
        await _copy_exactly(reader, writer, size, moved)
        if await _line(reader) != b"\r\n":
            raise BadMessage("a chunk does not end where it says")
        writer.write(b"\r\n")
    for _ in range(HEADERS_MAX):
        # Trailers are read and dropped: they could carry what a head may not.
        if await _line(reader) == b"\r\n":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return
    raise BadMessage(f"more than {HEADERS_MAX} trailer lines")


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    found = _CHUNK.fullmatch(await _line(reader))
    if found is None:
        raise BadMessage("a chunk does not begin with its size")
    return int(found[1], 16)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise BadMessage("the body is cut off, or one of its lines is too long") from None


async def _copy_exactly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int, moved: Callable[[int], None]
) -> None:
    while size:
        piece = await reader.read(min(size, CHUNK_BYTES))
        if not piece:
            raise BadMessage("the body is shorter than it says")
        size -= len(piece)
        await _write(writer, piece, moved)


async def _write(writer: asyncio.StreamWriter, piece: bytes, moved: Callable[[int], None]) -> None:
    moved(len(piece))
    writer.write(piece)
    await writer.drain()
