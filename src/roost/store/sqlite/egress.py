"""What left the sandboxes of sessions."""

from __future__ import annotations

from roost.store.passages import EgressRow
from roost.store.sqlite.reader import Reader
from roost.wire.egress import Decision

_N_MAX = (1 << 63) - 1


class SqliteEgressLog:
    """`roost.store.protocols.EgressLog`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def list(
        self, session_id: str, *, before: int | None = None, decision: Decision | None = None, limit: int
    ) -> list[EgressRow]:
        place = _N_MAX if before is None else before
        rows = await self._reader.far(
            lambda rows: rows.all("egress_list", session_id=session_id, before=place, decision=decision, limit=limit)
        )
        return [EgressRow(*row) for row in rows]
