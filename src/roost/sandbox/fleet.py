"""The sandboxes of this host, by session: made when they are needed and ended when they are not.

A sandbox is made at a session's first tool call, found again after a restart of the server, made anew with the same
files when it was lost, and ended when it was idle for `idle_s` or when another session needs its place. Ending keeps
its files; its processes and the state of its shell are gone, and the next bash call's result says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Literal, TypeVar

from roost.sandbox.interface import (
    Backend,
    OutputFile,
    Sandbox,
    SandboxLost,
    SandboxSpec,
    SandboxUnavailable,
    ToolResult,
)

T = TypeVar("T")

CALL_TIMEOUT_S = 150.0
"""What a whole call may take, the reference runner's; a bash call with a longer time-out of its own gets that."""
CALL_MARGIN_S = 30.0

_RENEWED = "[the sandbox was started anew since the last call: files are kept, processes and shell state are gone]"


class _Seat:
    """One session's place among the sandboxes of this host."""

    def __init__(self) -> None:
        self.sandbox: Sandbox | None = None
        self.making = asyncio.Lock()
        self.placed = False
        """Whether it counts among those that live: from before its sandbox is made until that has ended."""
        self.calls: set[str] = set()
        """Those that run, or wait for the sandbox."""
        self.cancelled: set[str] = set()
        self.owes_notice = False
        self.idle_since = 0.0
        self.idle_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        return self.sandbox is not None and not self.calls and not self.making.locked()


class Fleet:
    """Sandboxes by session: `living_max` at once, the longest idle making room; `idle_s` without a call ends one.

    A call gets `call_timeout_s` in all, and a bash call that asks for more time gets that.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        living_max: int = 256,
        idle_s: float = 1_800,
        call_timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._backend = backend
        self._call_timeout_s = call_timeout_s
        self._living_max = living_max
        self._idle_s = idle_s
        self._seats: dict[str, _Seat] = {}
        self._place_left = asyncio.Condition()
        self._closing = False
        self._background: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Find the sandboxes of an earlier server, so that they count and end when they stay idle."""
        for session_id in await self._backend.living():
            await self._found(session_id)

    async def execute(
        self, spec: SandboxSpec, *, call_id: str, epoch: int, name: str, input: Mapping[str, Any]
    ) -> ToolResult:
        """Run a tool in the session's sandbox, which is made if there is none. Errors as in `interface`."""
        seat = self._seats.setdefault(spec.session_id, _Seat())
        seat.calls.add(call_id)
        try:
            # A caller that is cancelled must not leave a sandbox half made: the making goes on without it.
            sandbox = await asyncio.shield(self._spawn(self._ready(seat, spec)))
            if call_id in seat.cancelled:
                return ToolResult.text("the call was cancelled", is_error=True)
            timeout_s = max(self._call_timeout_s, _own_timeout_s(name, input) + CALL_MARGIN_S)
            result = await sandbox.execute(name, input, call_id=call_id, epoch=epoch, timeout_s=timeout_s)
        finally:
            seat.calls.discard(call_id)
            seat.cancelled.discard(call_id)
            await self._rest(spec.session_id, seat)
        if name == "bash" and seat.owes_notice:
            seat.owes_notice = False
            return ToolResult(({"type": "text", "text": _RENEWED}, *result.content), result.is_error)
        return result

    async def lookup(self, session_id: str, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        """What is known of a call. Raises SandboxLost where the session had a sandbox and it is gone."""
        if sandbox := await self._found(session_id):
            return await sandbox.lookup(call_id, epoch=epoch)
        if session_id in await self._backend.living():
            raise SandboxLost("the sandbox is gone")
        return "unknown"

    async def cancel(self, session_id: str, call_id: str, *, epoch: int) -> None:
        """Stop a call, also one that still waits for its sandbox. Calls that are not known do nothing."""
        seat = self._seats.get(session_id)
        if seat and call_id in seat.calls:
            seat.cancelled.add(call_id)
        if sandbox := await self._found(session_id):
            await sandbox.cancel(call_id, epoch=epoch)

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        """What lies in the session's outputs folder, whether its sandbox lives or not."""
        return await self._backend.outputs(session_id)

    def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        return self._backend.read_output(session_id, path)

    async def living(self) -> Sequence[str]:
        """The sessions that have a sandbox, or kept files of one, on this host."""
        return await self._backend.living()

    async def forget(self, session_id: str) -> None:
        """End the session's sandbox and remove its files. A call that still runs is lost."""
        seat = self._seats.setdefault(session_id, _Seat())
        async with seat.making:
            await self._let_go(seat)
            await self._backend.forget(session_id)
        self._seats.pop(session_id, None)

    async def end_all(self) -> None:
        """End every sandbox that no call uses, keep the files: for a server that will not come back to its data."""
        await self.start()
        await asyncio.gather(*(self._end_idle(seat) for seat in list(self._seats.values())))

    async def close(self) -> None:
        """Let go of every sandbox without ending any: the next server finds them, and the calls that run in them.

        Whoever still waits for a call's result is cancelled.
        """
        self._closing = True
        async with self._place_left:
            self._place_left.notify_all()
        await asyncio.gather(*self._background, return_exceptions=True)
        for seat in list(self._seats.values()):
            await self._let_go(seat)
        self._seats.clear()
        await self._backend.aclose()

    async def _ready(self, seat: _Seat, spec: SandboxSpec) -> Sandbox:
        """The session's sandbox, made for this spec. One at a time makes it; the others wait for the same one."""
        async with seat.making:
            if seat.sandbox is None or seat.sandbox.lost:
                await self._let_go(seat)
                await self._take_place(seat)
                seat.sandbox = await self._backend.attach(spec.session_id)
            outdated = seat.sandbox and seat.sandbox.spec != spec and not await seat.sandbox.update(spec)
            # While other calls run in it, this one joins them, and the change waits for a quiet moment.
            if outdated and len(seat.calls) == 1:
                await self._end(seat)
            if seat.sandbox is None:
                await self._take_place(seat)
                seat.sandbox = await self._backend.provision(spec)
                seat.owes_notice = seat.sandbox.renewed
            return seat.sandbox

    async def _found(self, session_id: str) -> Sandbox | None:
        """The session's sandbox if it lives; none is made."""
        seat = self._seats.setdefault(session_id, _Seat())
        async with seat.making:
            if seat.sandbox is None or seat.sandbox.lost:
                await self._let_go(seat)
                seat.sandbox = await self._backend.attach(session_id)
                seat.placed = seat.sandbox is not None
            sandbox = seat.sandbox
        await self._rest(session_id, seat)
        return sandbox

    async def _take_place(self, seat: _Seat) -> None:
        """Wait until one more may live; where all places are taken, the longest idle sandbox ends."""
        async with self._place_left:
            while not seat.placed:
                if self._closing:
                    raise SandboxUnavailable("the server is stopping")
                if sum(other.placed for other in self._seats.values()) < self._living_max:
                    seat.placed = True
                elif idle := [other for other in self._seats.values() if other.idle]:
                    await self._end(min(idle, key=lambda other: other.idle_since))
                else:
                    await self._place_left.wait()

    async def _rest(self, session_id: str, seat: _Seat) -> None:
        """After a call: an idle sandbox's time starts, whoever waits for a place looks again, an empty seat goes."""
        if seat.idle_timer:
            seat.idle_timer.cancel()
        if seat.idle:
            loop = asyncio.get_running_loop()
            seat.idle_since = loop.time()
            seat.idle_timer = loop.call_later(self._idle_s, lambda: self._spawn(self._end_idle(seat)))
        elif not seat.calls and not seat.making.locked():
            seat.placed = False
            self._seats.pop(session_id, None)
        async with self._place_left:
            self._place_left.notify_all()

    async def _end_idle(self, seat: _Seat) -> None:
        if seat.idle:
            await self._end(seat)

    async def _end(self, seat: _Seat) -> None:
        """End the sandbox, keep its files."""
        sandbox, seat.sandbox, seat.placed = seat.sandbox, None, False
        if sandbox:
            await sandbox.destroy(keep_files=True)

    async def _let_go(self, seat: _Seat) -> None:
        """Forget the sandbox, lost or not, without ending it."""
        if seat.idle_timer:
            seat.idle_timer.cancel()
        sandbox, seat.sandbox, seat.placed = seat.sandbox, None, False
        if sandbox:
            await sandbox.release()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _own_timeout_s(name: str, input: Mapping[str, Any]) -> float:
    """What the call itself asks for; only `bash` can."""
    asked_ms = input.get("timeout_ms") if name == "bash" else None
    return asked_ms / 1000 if isinstance(asked_ms, int) else 0.0
