"""Threads of a session: for now the primary one, whose events are the session's (contract/sessions.md, Threads)."""

from __future__ import annotations

from pydantic import Field

from roost.operations.cursor import parse
from roost.operations.events import EventsQuery, StreamQuery, events_page, live
from roost.operations.resource import Context, Live, Reply
from roost.operations.sessions import existing
from roost.operations.view import thread_reply
from roost.store.protocols import SessionRow, Status
from roost.wire.errors import invalid, not_found
from roost.wire.pages import LIMIT_LONG_MAX, Cursor, LongLimit, Query, page


class ThreadsQuery(Query):
    statuses: list[Status] = Field([], alias="statuses[]", max_length=4)
    limit: LongLimit = LIMIT_LONG_MAX
    page: Cursor | None = None


class ThreadEventsQuery(Query):
    limit: LongLimit = LIMIT_LONG_MAX
    page: Cursor | None = None


async def list_(ctx: Context, *, session_id: str, query: ThreadsQuery) -> Reply:
    row = await existing(ctx, session_id)
    parse(query.page, f"threads:{session_id}", descending=False)
    shown = not query.page and (not query.statuses or row.status in query.statuses)
    return Reply(page([thread_reply(row, ctx.now())] if shown else [], None))


async def retrieve(ctx: Context, *, session_id: str, thread_id: str) -> Reply:
    return Reply(thread_reply(await _session_of(ctx, session_id, thread_id), ctx.now()))


async def archive(ctx: Context, *, session_id: str, thread_id: str) -> Reply:
    await _session_of(ctx, session_id, thread_id)
    raise invalid("The primary thread of a session cannot be archived; archive the session.")


async def events(ctx: Context, *, session_id: str, thread_id: str, query: ThreadEventsQuery) -> Reply:
    row = await _session_of(ctx, session_id, thread_id)
    return await events_page(ctx, row, EventsQuery(limit=query.limit, page=query.page))


async def stream(ctx: Context, *, session_id: str, thread_id: str, query: StreamQuery) -> Live:
    return await live(ctx, await _session_of(ctx, session_id, thread_id), query)


async def _session_of(ctx: Context, session_id: str, thread_id: str) -> SessionRow:
    row = await existing(ctx, session_id)
    if thread_id != row.thread_id:
        raise not_found("thread in this session", thread_id)
    return row
