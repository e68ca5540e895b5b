"""Sessions: made from an agent and an environment, changed while quiet, archived, deleted (contract/sessions.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from pydantic import Field

from roost.core.ids import new_id
from roost.operations import environments
from roost.operations.cursor import Cursor as PageCursor
from roost.operations.cursor import parse
from roost.operations.inputs import checked_initial
from roost.operations.mcp import require_reachable
from roost.operations.mounts import mounts
from roost.operations.resource import Context, Reply, Write
from roost.operations.snapshot import snapshot
from roost.operations.tools import resolved, warnings, warnings_in
from roost.operations.view import session_reply
from roost.store.protocols import REAP_TOPIC, Batch, EventDraft, SessionQuery, SessionRow, session_topic
from roost.store.protocols import Status as RowStatus
from roost.store.statements import (
    append,
    draft,
    enqueue,
    hints,
    object_unarchived,
    objects_delete_children,
    session_archive,
    session_delete,
    session_insert,
    session_quiet,
    session_update,
    wake,
    work_delete_session,
    work_end,
    work_ensure,
)
from roost.store.work import work_topic
from roost.wire.agents import SessionAgent
from roost.wire.errors import invalid, not_found
from roost.wire.events.session import SessionUpdated, StatusTerminated, ThreadStatusTerminated
from roost.wire.fields import Version, merged
from roost.wire.pages import LIMIT_DEFAULT, CreatedQuery, Cursor, Limit, Order, page_both_ways
from roost.wire.sessions import SessionCreate, SessionUpdate
from roost.wire.shape import encode

NO_USAGE = encode(
    {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "active_ms": 0,
    }
)


class SessionsQuery(CreatedQuery):
    agent_id: str | None = None
    agent_version: Version | None = None
    deployment_id: str | None = None
    memory_store_id: str | None = None
    statuses: list[RowStatus] = Field([], alias="statuses[]", max_length=4)
    include_archived: bool = False
    order: Order = "desc"
    limit: Limit = LIMIT_DEFAULT
    page: Cursor | None = None


async def create(ctx: Context, *, body: SessionCreate) -> Write:
    """With initial events the session is `running` at once: they are queued in the same batch."""
    environment = await environments.existing(ctx, body.environment_id)
    if environment.archived_at:
        raise environments.archived(body.environment_id)
    self_hosted = environments.is_self_hosted(environment)
    if self_hosted and body.resources:
        raise invalid("resources: sessions on a self_hosted environment take no files; its workers bring their own")
    agent = await snapshot(ctx, body.agent)
    require_reachable(environment, agent.mcp_servers)
    now, session_id = ctx.now(), new_id("sesn")
    mounted = await mounts(ctx, session_id, body.resources, now)
    inputs = await checked_initial(ctx, body.initial_events)
    kept = {
        "agent": agent.model_dump(),
        "title": body.title,
        "metadata": body.metadata,
        "resources": [mount.kept() for mount in mounted],
        "vault_ids": [],
        "self_hosted": self_hosted,
    }
    row = SessionRow(
        id=session_id,
        workspace_id=ctx.workspace_id,
        status="running" if inputs else "idle",
        agent_id=agent.id,
        agent_version=agent.version,
        environment_id=body.environment_id,
        thread_id=new_id("sthr"),
        created_at=now,
        updated_at=now,
        body=encode(kept),
        usage=NO_USAGE,
        running_since=now if inputs else None,
    )
    statements = (
        object_unarchived(ctx.workspace_id, "agent", agent.id),
        object_unarchived(ctx.workspace_id, "environment", body.environment_id),
        *(object_unarchived(ctx.workspace_id, "file", original.file_id) for original in body.resources),
        *(mount.insert for mount in mounted),
        session_insert(row),
        *enqueue(session_id, inputs, now=now),
        *((wake(session_id, at=now),) if inputs else ()),
        *((work_ensure(new_id("work"), session_id, now=now),) if self_hosted else ()),
    )
    topics = (work_topic(body.environment_id),) if self_hosted else ()
    batch = Batch(statements, hints=(*hints(session_id, wakes=bool(inputs)), *topics))
    return Write(batch, Reply(session_reply(row, now), warnings(agent.tools)))


async def retrieve(ctx: Context, *, session_id: str) -> Reply:
    return Reply(session_reply(await existing(ctx, session_id), ctx.now()))


async def list_(ctx: Context, *, query: SessionsQuery) -> Reply:
    """The one list that can be read in both directions."""
    if query.agent_version is not None and query.agent_id is None:
        raise invalid("agent_version: only together with agent_id")
    place = parse(query.page, "sessions", descending=query.order == "desc", created=query.created)
    rows = [] if query.memory_store_id else await ctx.store.sessions.list(_wanted(ctx, query, place))
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    back = place is not None and place.backward
    if back:
        rows.reverse()
    descending = query.order == "desc"
    following = _cursor(rows[-1], descending, backward=False) if rows and (more or back) else None
    preceding = _cursor(rows[0], descending, backward=True) if rows and (more if back else place) else None
    now = ctx.now()
    return Reply(page_both_ways([session_reply(row, now) for row in rows], following, preceding))


async def update(ctx: Context, *, session_id: str, body: SessionUpdate) -> Reply | Write:
    """A change is told to the session's streams with `session.updated`, which carries only what changed."""
    if "vault_ids" in body.model_fields_set:
        raise invalid("vault_ids: cannot be changed after creation")
    row = await existing(ctx, session_id)
    if row.archived_at:
        raise invalid(f"The session {session_id} is archived and cannot be changed.")
    kept = orjson.loads(row.body)
    changes = _changes(kept, body)
    now = ctx.now()
    if not changes:
        return Reply(session_reply(row, now))
    if "agent" in changes:
        _require_quiet(row, "its agent can only be changed while it is idle")
    at = ctx.after(row.updated_at)
    new = replace(row, body=encode(kept | changes), updated_at=at)
    shown = {name: value for name, value in changes.items() if name != "metadata" or value}
    statements = (
        *((session_quiet(session_id),) if "agent" in changes else ()),
        session_update(
            session_id, body=new.body, updated_at=at, was_updated_at=row.updated_at, config_changed="agent" in changes
        ),
        *append(session_id, [draft(SessionUpdated(**shown))], now=now),
    )
    agent = SessionAgent.model_validate((kept | changes)["agent"])
    return Write(Batch(statements, hints=hints(session_id)), Reply(session_reply(new, now), warnings(agent.tools)))


async def archive(ctx: Context, *, session_id: str) -> Reply | Write:
    """History stays readable; the log ends with the terminated statuses, which end the streams."""
    row = await existing(ctx, session_id)
    if row.archived_at:
        return Reply(session_reply(row, ctx.now()))
    _require_quiet(row, "it can only be archived while it is idle")
    now = ctx.now()
    at = ctx.after(row.updated_at)
    closing = [] if row.status == "terminated" else _closing(row)
    statements = (
        session_quiet(session_id),
        *append(session_id, closing, now=now),
        session_archive(session_id, at=at),
        work_end(session_id, now=now),
    )
    archived = replace(row, status="terminated", archived_at=at, updated_at=at, running_since=None)
    body = session_reply(archived, now)
    return Write(Batch(statements, hints=hints(session_id)), Reply(body, warnings_in(body)))


async def delete(ctx: Context, *, session_id: str) -> Write:
    """Removes the record, its events, and the files it made or mounted; originals of mounted files stay."""
    row = await existing(ctx, session_id)
    _require_quiet(row, "it can only be deleted while it is idle")
    statements = (
        session_quiet(session_id),
        *session_delete(session_id),
        work_delete_session(session_id),
        objects_delete_children(ctx.workspace_id, "file", session_id),
    )
    reply = Reply(encode({"id": session_id, "type": "session_deleted"}))
    return Write(Batch(statements, hints=(session_topic(session_id), REAP_TOPIC)), reply)


async def existing(ctx: Context, session_id: str) -> SessionRow:
    row = await ctx.store.sessions.get(ctx.workspace_id, session_id)
    if row is None:
        raise not_found("session", session_id)
    return row


def _require_quiet(row: SessionRow, what: str) -> None:
    if row.status in ("running", "rescheduling"):
        raise invalid(f"The session {row.id} is {row.status}: {what}. Send a user.interrupt and wait until it is idle.")


def _closing(row: SessionRow) -> list[EventDraft]:
    name = orjson.loads(row.body)["agent"]["name"]
    thread = ThreadStatusTerminated(session_thread_id=row.thread_id, agent_name=name)
    return [draft(thread), draft(StatusTerminated())]


def _changes(kept: dict[str, Any], body: SessionUpdate) -> dict[str, Any]:
    """What the update really changes."""
    wanted: dict[str, Any] = {"metadata": merged(kept["metadata"], body.metadata)}
    if "title" in body.model_fields_set:
        wanted["title"] = body.title
    if "tools" in body.agent.model_fields_set:
        agent = SessionAgent.model_validate(kept["agent"])
        changed = agent.model_copy(update={"tools": resolved(body.agent.tools or [])})
        wanted["agent"] = changed.model_dump()
    return {name: value for name, value in wanted.items() if value != kept[name]}


def _wanted(ctx: Context, query: SessionsQuery, place: PageCursor | None) -> SessionQuery:
    descending = query.order == "desc"
    return SessionQuery(
        workspace_id=ctx.workspace_id,
        agent_id=query.agent_id,
        agent_version=query.agent_version,
        deployment_id=query.deployment_id,
        statuses=tuple(query.statuses),
        created=query.created,
        include_archived=query.include_archived,
        limit=query.limit + 1,
        after=place.position if place else None,
        descending=descending != (place is not None and place.backward),
    )


def _cursor(row: SessionRow, descending: bool, *, backward: bool) -> str:
    return PageCursor("sessions", descending, row.created_at, row.id, backward).text()
