"""How much disk a sandbox uses, watched while calls run in it.

There is no quota that works on every file system and as a plain user, so the session's folders are measured from time
to time. A call under which they grow past the limit is cancelled, and its result says so. The agent can still read and
delete afterwards: over the limit, a call goes on for as long as it does not add to what was used when it began.

What a call writes between two measurements is not held back, and neither is what a process writes that goes on in the
background when no call runs; the next call finds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from roost.sandbox.interface import SandboxUnavailable, ToolResult

HOST_FREE_BYTES_MIN = 256 << 20
"""With less than that left on the server's disk, no sandbox is made."""

_INTERVAL_S = 1.0
_NEAR_INTERVAL_S = 0.25
_NEAR = 0.75
"""Of the limit; from there on it is measured more often."""
_PAUSE_TIMES = 20
"""A pause is at least so many times as long as the measuring before it took, so that large trees cost little ..."""
_NEAR_PAUSE_TIMES = 4
"""... and near the limit ..."""
_PAUSE_MAX_S = 15.0
"""... and never longer than that."""
_METER_REST_TIMES = 3
"""How much longer than it measured the meter rests."""


class DiskWatch:
    """Of one sandbox. `measure` answers how many bytes it uses; it may take its time and raise OSError."""

    def __init__(self, measure: Callable[[], Awaitable[int]], limit_bytes: int) -> None:
        self._measure = measure
        self._limit_bytes = limit_bytes
        self._used_bytes: int | None = None
        self._pause_s = _INTERVAL_S
        self._measuring: asyncio.Task[None] | None = None

    async def guard(self, call: Coroutine[Any, Any, ToolResult], cancel: Callable[[], Awaitable[None]]) -> ToolResult:
        """Wait for the call; where it takes the sandbox past its limit, `cancel` it. Errors are the call's."""
        running = asyncio.create_task(call)
        over = asyncio.create_task(self._grown_past_limit())
        try:
            await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return running.result()
            await cancel()
            result = await running
            if not result.is_error:  # it ended by itself meanwhile
                return result
            await self._look()  # what the call added up to its end must not be held against the next one
            return ToolResult((*result.content, {"type": "text", "text": self._said(over.result())}), is_error=True)
        finally:
            over.cancel()
            running.cancel()
            await asyncio.gather(running, over, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop measuring."""
        if self._measuring:
            self._measuring.cancel()
            await asyncio.wait({self._measuring})

    async def _grown_past_limit(self) -> int:
        """The bytes used, once that is more than both the limit and what was used when this began."""
        allowed = self._used_bytes
        while True:
            # One measurement serves every call that waits, and goes on when they end before it does.
            if self._measuring is None or self._measuring.done():
                self._measuring = asyncio.create_task(self._next())
            await asyncio.shield(self._measuring)
            used = self._used_bytes
            if used is None:
                continue
            allowed = max(self._limit_bytes, used if allowed is None else min(allowed, used))
            if used > allowed:
                return used

    async def _next(self) -> None:
        """Measure again when it is time."""
        await asyncio.sleep(self._pause_s)
        await self._look()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with contextlib.suppress(OSError):  # what could not be measured now is measured next time
            self._used_bytes = await self._measure()
        took_s = loop.time() - began
        if (self._used_bytes or 0) > _NEAR * self._limit_bytes:
            self._pause_s = max(_NEAR_INTERVAL_S, min(took_s * _NEAR_PAUSE_TIMES, _PAUSE_MAX_S))
        else:
            self._pause_s = max(_INTERVAL_S, min(took_s * _PAUSE_TIMES, _PAUSE_MAX_S))

    def _said(self, used_bytes: int) -> str:
        return (
            f"the call was cancelled: this sandbox uses {_mib(used_bytes)} of disk and may use "
            f"{_mib(self._limit_bytes)}; delete files before writing more"
        )


class Meter:
    """Measures for all sandboxes of a server, one after the other, in a quarter of one processor's time at most.

    With hundreds of calls running, each sandbox is measured less often.
    """

    def __init__(self) -> None:
        self._free = asyncio.Lock()
        self._rests_until = 0.0

    async def used_bytes(self, folders: Sequence[Path]) -> int:
        """As the function of that name."""
        loop = asyncio.get_running_loop()
        async with self._free:
            await asyncio.sleep(self._rests_until - loop.time())
            began = loop.time()
            try:
                return await used_bytes(folders)
            finally:
                now = loop.time()
                self._rests_until = now + _METER_REST_TIMES * (now - began)


async def used_bytes(folders: Sequence[Path]) -> int:
    """What the folders take up on the disk, by `du`: it follows no link, counts a file of two names once, and goes as
    deep as there are folders. Raises OSError where it cannot be run.

    A folder that an agent closed to its own user counts for nothing with a server that is no root.
    """
    du = await asyncio.create_subprocess_exec(
        "du", "-skx", "--", *map(str, folders), stdout=PIPE, stderr=DEVNULL, env={"PATH": os.defpath, "LC_ALL": "C"}
    )
    try:
        said, _ = await du.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            du.kill()
        await du.wait()
        raise
    if not said:
        raise OSError("du said nothing")
    return sum(int(line.split()[0]) for line in said.splitlines()) << 10


def can_measure() -> bool:
    return shutil.which("du", path=os.defpath) is not None


def refuse_without_room(folder: Path) -> None:
    """Raises SandboxUnavailable where the disk that the folder lies on is nearly full."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < HOST_FREE_BYTES_MIN:
        raise SandboxUnavailable(
            f"the disk of the server's data folder has {_mib(free_bytes)} left and a sandbox needs "
            f"{_mib(HOST_FREE_BYTES_MIN)}: free some, or move the data folder"
        )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MiB"
