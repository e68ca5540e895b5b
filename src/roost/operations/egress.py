"""What left a session's sandbox, for its user: Roost's own call beside the API's."""

from __future__ import annotations

from roost.operations.cursor import Cursor, parse
from roost.operations.lists import cut
from roost.operations.resource import Context, Reply
from roost.operations.sessions import existing
from roost.store.passages import EgressRow
from roost.wire.egress import Decision, EgressEntry
from roost.wire.pages import PageQuery, page


class EgressQuery(PageQuery):
    decision: Decision | None = None


async def list_(ctx: Context, *, session_id: str, query: EgressQuery) -> Reply:
    """A page, newest first."""
    await existing(ctx, session_id)
    name = f"egress:{session_id}"
    place = parse(query.page, name, descending=True, by_number=True)
    before = int(place.key) if place else None
    rows = await ctx.store.egress.list(session_id, before=before, decision=query.decision, limit=query.limit + 1)
    shown, next_page = cut(rows, query.limit, lambda last: Cursor(name, True, last.n, session_id))
    return Reply(page([_entry(row).encode() for row in shown], next_page))


def _entry(row: EgressRow) -> EgressEntry:
    return EgressEntry(
        number=row.n,
        at=row.at,
        method=row.method,
        host=row.host,
        port=row.port,
        decision=row.decision,
        reason=row.reason,
        sent_bytes=row.sent_bytes,
        received_bytes=row.received_bytes,
        duration_ms=row.duration_ms,
    )
