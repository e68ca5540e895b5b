"""The call ledger: every call runs once, whoever asks for it and however often.

The ledger lives as long as the sandbox. It holds at most `MAX_CALLS` calls and `MAX_RESULT_BYTES` of results: beyond
that the oldest finished results are replaced by a short note (their ids are still known, so nothing runs twice), and
beyond `MAX_CALLS` ids the oldest are forgotten.
"""

from __future__ import annotations

from _thread import allocate_lock

from .frames import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Result = dict[str, Any]
    Waiter = Callable[[Result], None]

MAX_CALLS = 65_536
MAX_RESULT_BYTES = 32 * 1024 * 1024


class ToolError(Exception):
    """A tool's failure; its text is the result, marked as an error."""


class Stale(Exception):
    """The caller's epoch is lower than one already seen."""


def text_result(text: str, *, is_error: bool = False) -> Result:
    return {"content": [{"type": "text", "text": text or "(no output)"}], "is_error": is_error}


CANCELLED = text_result("the call was cancelled", is_error=True)
_DROPPED = text_result("this call finished long ago and its result is no longer kept", is_error=True)


class Call:
    """One call: running until it has a result."""

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.cancelled = False
        self.result: Result | None = None
        self.size_bytes = 0
        self.waiters: list[Waiter] = []
        self.stop: Callable[[], None] = lambda: None
        """What `cancel` does beyond setting the flag: by default the caller is answered at once."""

    def cancel(self) -> None:
        self.cancelled = True
        self.stop()


class Ledger:
    """Calls by id, the newest epoch seen, and the bounds above."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._calls: dict[str, Call] = {}
        self._size_bytes = 0
        self._epoch = -1
        self.running = 0
        """Calls without a result."""

    def begin(self, call_id: str, epoch: int, waiter: Waiter) -> Call | None:
        """The call to run, or None when it runs or has run; `waiter` gets its result either way. Raises Stale."""
        with self._lock:
            self._admit(epoch)
            known = self._calls.get(call_id)
            call = known or self._calls.setdefault(call_id, Call(call_id))
            result = call.result
            if result is None:
                call.waiters.append(waiter)
            self.running += not known
        if result is not None:
            waiter(result)
        return None if known else call

    def find(self, call_id: str, epoch: int) -> Call | None:
        """Raises Stale."""
        with self._lock:
            self._admit(epoch)
            return self._calls.get(call_id)

    def finish(self, call: Call, result: Result) -> None:
        """Record the result and tell everybody who waits for it. A call has one result: the first."""
        size_bytes = len(encode(result))
        with self._lock:
            if call.result is not None:
                return
            call.result, call.size_bytes = result, size_bytes
            self.running -= 1
            self._size_bytes += size_bytes
            self._shrink(newest=call)
            waiters, call.waiters = call.waiters, []
        for waiter in waiters:
            waiter(result)

    def _admit(self, epoch: int) -> None:
        if epoch < self._epoch:
            raise Stale
        self._epoch = epoch

    def _shrink(self, newest: Call) -> None:
        if self._size_bytes <= MAX_RESULT_BYTES and len(self._calls) <= MAX_CALLS:
            return
        finished = [call for call in self._calls.values() if call.result is not None and call is not newest]
        for call in finished[: max(0, len(self._calls) - MAX_CALLS)]:
            self._drop(call)
            del self._calls[call.id]
        for call in finished:
            if self._size_bytes <= MAX_RESULT_BYTES:
                return
            self._drop(call)

    def _drop(self, call: Call) -> None:
        self._size_bytes -= call.size_bytes
        call.result, call.size_bytes = _DROPPED, 0
