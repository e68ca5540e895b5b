"""The server's end of a toolhost: requests and answers as JSON lines over the sandbox's socket.

Nothing that comes back is trusted: a line over `FRAME_LIMIT_BYTES`, a line that is no answer, or a result of another
shape than a tool's ends the connection, and the sandbox counts as lost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from roost.sandbox.interface import SandboxLost, StaleEpoch, ToolResult

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
BLOCKS_MAX = 16
HELLO_TIMEOUT_S = 20.0
CANCEL_GRACE_S = 10.0

_MEDIA = {
    "image": {"image/png", "image/jpeg", "image/gif", "image/webp"},
    "document": {"application/pdf"},
}


class Toolhost:
    """One connection. Made by `connect`; `lost` is done when the other end is gone, and stays so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._released = False
        self._listening = asyncio.create_task(self._listen(), name="toolhost")

    @property
    def lost(self) -> bool:
        return self._listening.done()

    async def execute(
        self, name: str, input: Mapping[str, Any], *, call_id: str, epoch: int, timeout_s: float
    ) -> ToolResult:
        """As `Sandbox.execute`."""
        answer = self._ask("execute", call_id=call_id, epoch=epoch, name=name, input=input)
        try:
            async with asyncio.timeout(timeout_s):
                return tool_result(await asyncio.shield(answer))
        except TimeoutError:
            await self.cancel(call_id, epoch=epoch)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_GRACE_S):
                result = tool_result(await answer)
                timed_out = {"type": "text", "text": f"tool '{name}' timed out"}
                return ToolResult((*result.content, timed_out), is_error=True)
        return ToolResult.text(f"tool '{name}' timed out", is_error=True)

    async def lookup(self, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        """As `Sandbox.lookup`."""
        answer = await self._ask("lookup", call_id=call_id, epoch=epoch)
        if answer == "unknown":
            return "unknown"
        return "running" if answer == "running" else tool_result(answer)

    async def cancel(self, call_id: str, *, epoch: int) -> None:
        """As `Sandbox.cancel`."""
        await self._ask("cancel", call_id=call_id, epoch=epoch)

    async def hello(self) -> None:
        """Wait until the toolhost answers. Raises SandboxLost."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                await self._ask("hello")
        except TimeoutError:
            raise SandboxLost(f"the sandbox did not answer within {HELLO_TIMEOUT_S:g}s") from None

    async def aclose(self) -> None:
        """Hang up. The sandbox goes on, and so does what runs in it; whoever waits for an answer is cancelled."""
        self._released = True
        self._listening.cancel()
        await asyncio.wait([self._listening])
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _ask(self, op: str, **fields: Any) -> asyncio.Future[Any]:
        if self.lost:
            raise SandboxLost("the sandbox is gone")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda _: self._waiting.pop(number, None))
        self._writer.write(orjson.dumps({"id": number, "op": op, **fields}) + b"\n")
        return answer

    async def _listen(self) -> None:
        reason = "the sandbox ended"
        try:
            while line := await self._reader.readuntil(b"\n"):
                self._settle(orjson.loads(line))
        except (asyncio.IncompleteReadError, OSError):
            pass
        except (asyncio.LimitOverrunError, ValueError, KeyError, TypeError):
            reason = "the sandbox broke the protocol"
        finally:
            self._writer.close()
            for answer in list(self._waiting.values()):
                self._fail(answer, SandboxLost(reason))

    def _settle(self, message: dict[str, Any]) -> None:
        answer = self._waiting.get(message["id"])
        if answer is None or answer.done():
            return
        if message.get("error") == "stale_epoch":
            self._fail(answer, StaleEpoch("a newer owner has spoken to this sandbox"))
        else:
            answer.set_result(message["result"])

    def _fail(self, answer: asyncio.Future[Any], error: Exception) -> None:
        if self._released:
            answer.cancel()
        elif not answer.done():
            answer.set_exception(error)
            # Not everybody waits any more; a call that was given up must not warn about its answer.
            answer.exception()


async def connect(socket_path: Path) -> Toolhost:
    """Raises SandboxLost where nobody listens."""
    try:
        with short_address(socket_path) as address:
            return Toolhost(*await asyncio.open_unix_connection(address, limit=FRAME_LIMIT_BYTES))
    except OSError as error:
        raise SandboxLost("the sandbox is gone") from error


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """The same socket by its folder's descriptor: an address may have 107 bytes, a data folder's path more."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def tool_result(answer: Any) -> ToolResult:
    """The answer as a result: text, images and PDFs in base64, and nothing else. Raises SandboxLost."""
    try:
        blocks = answer["content"]
        if not isinstance(blocks, list) or not 0 < len(blocks) <= BLOCKS_MAX or type(answer["is_error"]) is not bool:
            raise ValueError
        return ToolResult(tuple(map(_block, blocks)), answer["is_error"])
    except (ValueError, KeyError, TypeError):
        raise SandboxLost("the sandbox broke the protocol") from None


def _block(block: Any) -> Mapping[str, Any]:
    kind = block["type"]
    if kind == "text" and isinstance(block["text"], str) and block["text"]:
        return {"type": "text", "text": block["text"]}
    source = block["source"]
    data = source["data"]
    if source["media_type"] not in _MEDIA[kind] or not isinstance(data, str):
        raise ValueError
    base64.b64decode(data, validate=True)
    return {"type": kind, "source": {"type": "base64", "media_type": source["media_type"], "data": data}}
