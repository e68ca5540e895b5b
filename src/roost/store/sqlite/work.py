"""The work queues of self-hosted environments."""

from __future__ import annotations

from roost.store.protocols import Position
from roost.store.ranges import page_range
from roost.store.sqlite.reader import Reader
from roost.store.work import WorkRow, WorkStats


class SqliteWork:
    """`roost.store.protocols.Work`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, environment_id: str, id: str) -> WorkRow | None:
        row = self._reader.near.first("work_get", environment_id=environment_id, id=id)
        return WorkRow(*row) if row else None

    async def by_token(self, token_hash: str) -> WorkRow | None:
        row = self._reader.near.first("work_by_token", token_hash=token_hash)
        return WorkRow(*row) if row else None

    async def available(self, environment_id: str, *, now: str, polled_before: str) -> bool:
        found = self._reader.near.first(
            "work_available", environment_id=environment_id, now=now, polled_before=polled_before
        )
        return found is not None

    async def list(self, environment_id: str, *, limit: int, after: Position | None) -> list[WorkRow]:
        place = page_range({}, after, descending=True)._asdict()
        rows = await self._reader.far(
            lambda rows: rows.all("work_newest", environment_id=environment_id, limit=limit, **place)
        )
        return [WorkRow(*row) for row in rows]

    async def stats(self, environment_id: str) -> WorkStats:
        rows = await self._reader.far(lambda rows: rows.all("work_stats", environment_id=environment_id))
        return WorkStats(*rows[0])
