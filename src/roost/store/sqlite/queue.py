"""Leases on sessions. Each of these is a write, so it goes through the one writer like every other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from roost.store.protocols import Batch, Claim, Row, Statement
from roost.store.sqlite.reader import Reader
from roost.store.sqlite.writer import Writer


class SqliteQueue:
    """`roost.store.protocols.Queue`."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    async def claim(self, owner: str, limit: int, *, now: str, lease_until: str) -> list[Claim]:
        rows = await self._write("queue_claim", owner=owner, limit=limit, now=now, lease_until=lease_until)
        return [Claim(*row) for row in rows]

    async def renew(self, owner: str, claims: Sequence[Claim], *, lease_until: str) -> set[str]:
        held = orjson.dumps([(claim.session_id, claim.epoch) for claim in claims]).decode()
        rows = await self._write("queue_renew", owner=owner, claims=held, lease_until=lease_until)
        return {claim.session_id for claim in claims} - {row[0] for row in rows}

    async def reap(self, *, now: str, alive: Sequence[str]) -> int:
        return len(await self._write("queue_reap", now=now, alive=orjson.dumps(list(alive)).decode()))

    async def next_wake(self) -> str | None:
        wake_at: str | None = self._reader.near.all("queue_next_wake")[0][0]
        return wake_at

    async def owners(self, workspace_id: str | None) -> list[tuple[str, str, str]]:
        rows = self._reader.near.all("queue_owners", workspace_id=workspace_id)
        return [(session_id, owner, lease_until) for session_id, owner, lease_until in rows]

    async def _write(self, query: str, **parameters: Any) -> list[Row]:
        (rows,) = await self._writer.commit(Batch((Statement(query, parameters),)))
        return rows
