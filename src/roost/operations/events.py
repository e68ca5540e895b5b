"""A session's events: sent, listed, streamed (contract/events.md, engine.md sections 2 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import orjson
from pydantic import Field

from roost.core.ids import new_id
from roost.operations.cursor import Cursor as PageCursor
from roost.operations.cursor import parse
from roost.operations.inputs import checked
from roost.operations.resource import Context, Live, Reply, Results, Write
from roost.operations.sessions import existing
from roost.store.protocols import Batch, EventDraft, QueuedInput, SessionRow, StoredEvent
from roost.store.statements import append, enqueue, hints, session_open, wake, work_ensure
from roost.store.work import work_topic
from roost.wire.errors import ApiError, invalid
from roost.wire.events.preview import DELTA_TYPES_MAX, DeltaType
from roost.wire.fields import INTEGER_MAX
from roost.wire.pages import LIMIT_LONG_MAX, CreatedQuery, Cursor, LongLimit, Order, Query, page
from roost.wire.sessions import EventsSend, EventType, closed

ON_RECEIPT = ("user.custom_tool_result", "user.tool_result")
"""Types that count as processed when they arrive: they enter the log at once, the others wait to be admitted."""
_ANY = 1 << 62
"""Beyond every sequence number and every input."""
_DIGITS_MAX = len(str(INTEGER_MAX))


class EventsQuery(CreatedQuery):
    types: list[EventType] = Field([], alias="types[]")
    order: Order = "asc"
    limit: LongLimit = LIMIT_LONG_MAX
    page: Cursor | None = None


class StreamQuery(Query):
    event_deltas: Annotated[list[DeltaType], Field(max_length=DELTA_TYPES_MAX)] = Field([], alias="event_deltas[]")
    after: str | None = Field(None, min_length=1, max_length=128)
    """Ours: resume behind this event (its id, or the number of an `id:` line), as `Last-Event-ID` does."""


async def send(ctx: Context, *, session_id: str, body: EventsSend) -> Reply | Write:
    """All or nothing. Answers that need no turn of the agent enter the log at once; the rest waits to be admitted."""
    row = await existing(ctx, session_id)
    if row.archived_at or row.status == "terminated":
        raise closed(session_id, final=any(event.type in ON_RECEIPT for event in body.events))
    if ctx.worker and any(event.type not in ON_RECEIPT for event in body.events):
        raise ApiError(403, "A worker's key can send the results of tools only.")
    accepted = await checked(ctx, row, body.events)
    drafts = [event for event in accepted if isinstance(event, EventDraft)]
    received = [event for event in drafts if event.type in ON_RECEIPT]
    queued = [event for event in drafts if event.type not in ON_RECEIPT]
    # A worker leaves a session that has been idle for long: what begins a turn asks for one again.
    wants_worker = bool(queued) and bool(orjson.loads(row.body).get("self_hosted"))
    now = ctx.now()
    if not drafts:
        return _echo(accepted, now)
    statements = (
        session_open(session_id),
        *append(session_id, received, now=now),
        *enqueue(session_id, queued, now=now),
        wake(session_id, at=now),
        *((work_ensure(new_id("work"), session_id, now=now),) if wants_worker else ()),
    )
    topics = (work_topic(row.environment_id),) if wants_worker else ()
    batch = Batch(statements, hints=(*hints(session_id, wakes=True), *topics))

    def settled(results: Results) -> Reply:
        """The time of what was processed on receipt is the log's, which each of its inserts returns as (seq, ts)."""
        times = [rows[0][1] for rows in results if rows and len(rows[0]) == 2]
        return _echo(accepted, times[0] if times else now)

    return Write(batch, _echo(accepted, max(now, row.last_ts)), settled)


def _echo(accepted: Sequence[EventDraft | bytes], time: str) -> Reply:
    stamp = f'"{time}"}}'.encode()
    events = [
        event if isinstance(event, bytes) else event.head + (stamp if event.type in ON_RECEIPT else b"null}")
        for event in accepted
    ]
    return Reply(b'{"data":[%b]}' % b",".join(events))


async def list_(ctx: Context, *, session_id: str, query: EventsQuery) -> Reply:
    return await events_page(ctx, await existing(ctx, session_id), query)


async def events_page(ctx: Context, row: SessionRow, query: EventsQuery) -> Reply:
    """Processed events by sequence number, then queued ones, which count as newest in both orders.

    The inputs are read before the events: one that is admitted in between shows up in both and is dropped from the
    first, and none is missed.
    """
    descending = query.order == "desc"
    place = parse(query.page, f"events:{row.id}", descending=descending, by_number=True)
    read = _newest_first if descending else _oldest_first
    items, next_page = await read(ctx, row.id, query, place)
    return Reply(page(items, next_page.text() if next_page else None))


async def _oldest_first(
    ctx: Context, session_id: str, query: EventsQuery, place: PageCursor | None
) -> tuple[list[bytes], PageCursor | None]:
    seq, n = _position(place, start=(0, 0))
    waiting = await _waiting(ctx, session_id, query, after=n)
    events = await ctx.store.log.read(
        session_id, after=seq, limit=query.limit + 1, types=query.types, bounds=query.created
    )
    shown = events[: query.limit]
    seq = shown[-1].seq if shown else seq
    if len(events) > query.limit:
        return [event.data for event in shown], _cursor(session_id, query, seq, n)
    queued = _without(waiting, events)
    fitting = queued[: query.limit - len(shown)]
    items = [event.data for event in shown] + [entry.data for entry in fitting]
    if len(fitting) == len(queued):
        return items, None
    return items, _cursor(session_id, query, seq, fitting[-1].n if fitting else n)


async def _newest_first(
    ctx: Context, session_id: str, query: EventsQuery, place: PageCursor | None
) -> tuple[list[bytes], PageCursor | None]:
    before, n = _position(place, start=(_ANY, _ANY))
    waiting = [entry for entry in await _waiting(ctx, session_id, query) if entry.n < n]
    events = await ctx.store.log.read(
        session_id, before=before, limit=query.limit + 1, types=query.types, bounds=query.created, descending=True
    )
    queued = _without(waiting, events)[::-1]
    if len(queued) > query.limit:
        fitting = queued[: query.limit]
        return [entry.data for entry in fitting], _cursor(session_id, query, before, fitting[-1].n)
    room = query.limit - len(queued)
    shown = events[:room]
    items = [entry.data for entry in queued] + [event.data for event in shown]
    if len(events) <= room:
        return items, None
    return items, _cursor(session_id, query, shown[-1].seq if shown else before, 0)


def _position(place: PageCursor | None, start: tuple[int, int]) -> tuple[int, int]:
    """(sequence number, input number) of a cursor."""
    if place is None:
        return start
    if not place.id.isdecimal() or len(place.id) > _DIGITS_MAX or int(place.id) > INTEGER_MAX:
        raise invalid("page: not a cursor of this list")
    return int(place.key), int(place.id)


def _cursor(session_id: str, query: EventsQuery, seq: int, n: int) -> PageCursor:
    return PageCursor(f"events:{session_id}", query.order == "desc", seq, str(n))


async def _waiting(ctx: Context, session_id: str, query: EventsQuery, *, after: int = 0) -> list[QueuedInput]:
    """Queued inputs that the filters let through; one without a time is in no range of times."""
    if query.created:
        return []
    waiting = await ctx.store.log.inputs(session_id, after=after)
    return [entry for entry in waiting if not query.types or entry.type in query.types]


def _without(waiting: Sequence[QueuedInput], events: Sequence[StoredEvent]) -> list[QueuedInput]:
    seen = {event.id for event in events}
    return [entry for entry in waiting if entry.id not in seen]


async def stream(ctx: Context, *, session_id: str, query: StreamQuery) -> Live:
    return await live(ctx, await existing(ctx, session_id), query)


async def live(ctx: Context, row: SessionRow, query: StreamQuery) -> Live:
    after = await _resume(ctx, row, query.after) if query.after is not None else None
    return Live(row.id, frozenset(query.event_deltas), after, ended=row.status == "terminated")


async def _resume(ctx: Context, row: SessionRow, after: str) -> int:
    """The sequence number of a place in the log. Raises ApiError for one that this session does not have."""
    if after.isdecimal() and len(after) < 19 and int(after) <= row.last_seq:
        return int(after)
    found = await ctx.store.log.find(row.id, [after])
    if not found:
        raise invalid("after: names no processed event of this session")
    return found[0].seq
