"""The session log and the inputs that wait to enter it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import orjson

from roost.store.protocols import QueuedInput, StoredEvent
from roost.store.ranges import time_range
from roost.store.sqlite.reader import NEAR_ROWS, Reader, Rows

_END = (1 << 63) - 1
_NO_LIMIT = -1


def _seq_at(rows: Rows, session_id: str, ts: str) -> int:
    """The number of the first event not before a time.

    Time never runs backwards within a log, so this is a binary search: some dozen look-ups in any log.
    """

    def time_of(seq: int) -> str:
        found = rows.first("event_time", session_id=session_id, seq=seq)
        return found[0] if found else ""

    end = rows.all("log_end", session_id=session_id)[0][0] or 0
    return bisect_left(range(1, end + 1), ts, key=time_of) + 1


class SqliteLog:
    """`roost.store.protocols.Log`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = None,
        descending: bool = False,
        types: Sequence[str] = (),
        bounds: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> list[StoredEvent]:
        def work(rows: Rows) -> list[StoredEvent]:
            low, high = after, _END if before is None else before
            if bounds:
                floor, ceiling = time_range(bounds)
                low = max(low, _seq_at(rows, session_id, floor) - 1)
                high = min(high, _seq_at(rows, session_id, ceiling))
            found = rows.all(
                _STRETCHES[bool(types), descending],
                session_id=session_id,
                after=low,
                before=high,
                limit=_NO_LIMIT if limit is None else limit,
                private=private,
                **({"types": orjson.dumps(list(types)).decode()} if types else {}),
            )
            return [StoredEvent(*row) for row in found]

        if limit is not None and limit <= NEAR_ROWS and not types:
            return work(self._reader.near)
        return await self._reader.far(work)

    async def find(self, session_id: str, ids: Sequence[str], *, private: bool = False) -> list[StoredEvent]:
        asked = orjson.dumps(list(ids)).decode()
        rows = self._reader.near.all("events_find", session_id=session_id, ids=asked, private=private)
        return [StoredEvent(*row) for row in rows]

    async def answered(self, session_id: str, ids: Sequence[str]) -> dict[tuple[str, str], bytes]:
        asked = orjson.dumps(list(ids)).decode()
        found = self._reader.near.all("answers_find", session_id=session_id, ids=asked)
        return {(call_id, kind): data for call_id, kind, data in found}

    async def inputs(self, session_id: str, *, after: int = 0, waiting: bool = True) -> list[QueuedInput]:
        name = "inputs_waiting" if waiting else "inputs_all"
        return [QueuedInput(*row) for row in self._reader.near.all(name, session_id=session_id, after=after)]

    async def last_input(self, session_id: str) -> int:
        n: int = self._reader.near.all("input_last", session_id=session_id)[0][0]
        return n


_STRETCHES = {
    (False, False): "events_forward",
    (False, True): "events_backward",
    (True, False): "events_typed_forward",
    (True, True): "events_typed_backward",
}
