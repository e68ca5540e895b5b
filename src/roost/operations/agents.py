"""Agents: versioned, archived for good, never deleted (contract/agents.md, behaviour/01 section 1.2)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson

from roost.core.ids import new_id
from roost.operations.lists import listed, rows_of_page
from roost.operations.resource import Context, Reply, Write
from roost.operations.tools import resolved, warnings
from roost.store.protocols import Batch, ObjectQuery, ObjectRow
from roost.store.statements import object_insert, object_update
from roost.wire.agents import Agent, AgentCreate, AgentUpdate, Effort, ModelConfig, ModelConfigParams
from roost.wire.errors import conflict, invalid, not_found
from roost.wire.fields import Version, merged
from roost.wire.messages import ModelError
from roost.wire.pages import LIMIT_DEFAULT, CreatedQuery, Cursor, Limit, PageQuery, Query, page

EFFORT_LOOKUP_S = 2.0
"""How long a create waits for a provider to say whether its model has effort levels."""


class AgentQuery(Query):
    version: Version | None = None


class AgentsQuery(CreatedQuery):
    include_archived: bool = False
    limit: Limit = LIMIT_DEFAULT
    page: Cursor | None = None


async def create(ctx: Context, *, body: AgentCreate) -> Write:
    now = ctx.now()
    agent = Agent(
        id=new_id("agent"),
        version=1,
        name=body.name,
        description=body.description or None,
        system=body.system or None,
        model=await model_config(ctx, body.model),
        tools=resolved(body.tools),
        metadata=body.metadata,
        created_at=now,
        updated_at=now,
    )
    row = _row(ctx, agent)
    batch = Batch((object_insert(row), object_insert(_version_row(row))))
    return Write(batch, Reply(row.body, warnings(agent.tools)))


async def retrieve(ctx: Context, *, agent_id: str, query: AgentQuery) -> Reply:
    row = await _existing(ctx, agent_id)
    if query.version is None or query.version == row.number:
        return Reply(row.body)
    version = await ctx.store.objects.numbered(ctx.workspace_id, "agent_version", agent_id, query.version)
    if version is None:
        raise not_found("version of this agent", str(query.version))
    return Reply(_as_archived(version.body, row.archived_at))


async def list_(ctx: Context, *, query: AgentsQuery) -> Reply:
    wanted = ObjectQuery(
        ctx.workspace_id,
        "agent",
        include_archived=query.include_archived,
        created=query.created,
        limit=query.limit,
    )
    return await listed(ctx, wanted, query.page)


async def versions(ctx: Context, *, agent_id: str, query: PageQuery) -> Reply:
    """Every version, newest first."""
    row = await _existing(ctx, agent_id)
    wanted = ObjectQuery(ctx.workspace_id, "agent_version", parent_id=agent_id, limit=query.limit, by_number=True)
    rows, next_page = await rows_of_page(ctx, wanted, query.page)
    return Reply(page([_as_archived(version.body, row.archived_at) for version in rows], next_page))


async def update(ctx: Context, *, agent_id: str, body: AgentUpdate) -> Reply | Write:
    """An update that changes nothing makes no version."""
    row = await _existing(ctx, agent_id)
    if row.archived_at:
        raise invalid(f"The agent {agent_id} is archived and cannot be changed.")
    agent = Agent.model_validate_json(row.body)
    if body.version is not None and body.version != agent.version:
        raise conflict(f"version: the agent is at version {agent.version}, not {body.version}")
    changed = agent.model_copy(update=await _changes(ctx, agent, body))
    if changed == agent:
        return Reply(row.body, warnings(agent.tools))
    changed = changed.model_copy(update={"version": agent.version + 1, "updated_at": ctx.after(row.updated_at)})
    new = _row(ctx, changed)
    batch = Batch((object_update(new, was_updated_at=row.updated_at), object_insert(_version_row(new))))
    return Write(batch, Reply(new.body, warnings(changed.tools)))


async def archive(ctx: Context, *, agent_id: str) -> Reply | Write:
    row = await _existing(ctx, agent_id)
    if row.archived_at:
        return Reply(row.body)
    now = ctx.after(row.updated_at)
    agent = Agent.model_validate_json(row.body).model_copy(update={"archived_at": now, "updated_at": now})
    archived = replace(_row(ctx, agent), archived_at=now)
    batch = Batch((object_update(archived, was_updated_at=row.updated_at),))
    return Write(batch, Reply(archived.body, warnings(agent.tools)))


async def model_config(ctx: Context, sent: ModelConfigParams, before: ModelConfig | None = None) -> ModelConfig:
    """The resolved model. What is left out is cleared, except `effort`, which stays while the model is the same."""
    effort = sent.effort
    if effort is None and before is not None and before.id == sent.id and "effort" not in sent.model_fields_set:
        effort = before.effort
    elif effort is None:
        effort = await _default_effort(ctx, sent.id)
    return ModelConfig(id=sent.id, effort=effort, inference_geo=sent.inference_geo, speed=sent.speed or "standard")


async def _default_effort(ctx: Context, model: str) -> Effort | None:
    """`high`, the API's default, for a model whose provider says that it has levels; null where nobody says so."""
    try:
        async with asyncio.timeout(EFFORT_LOOKUP_S):
            cards = await ctx.models.models()
    except (ModelError, TimeoutError):
        return None
    info = next((card.info for card in cards if card.id == model), None) or {}
    levels = (info.get("capabilities") or {}).get("effort") or {}
    return Effort(type="high") if levels.get("supported") else None


async def _changes(ctx: Context, agent: Agent, body: AgentUpdate) -> dict[str, Any]:
    """The fields that were sent, each under its own rule."""
    sent = body.model_fields_set
    changes: dict[str, Any] = {"metadata": merged(agent.metadata, body.metadata)}
    if body.name is not None:
        changes["name"] = body.name
    if body.model is not None:
        changes["model"] = await model_config(ctx, body.model, agent.model)
    for name in sent & {"description", "system"}:
        changes[name] = getattr(body, name) or None
    if "tools" in sent:
        changes["tools"] = resolved(body.tools or [])
    return changes


async def _existing(ctx: Context, agent_id: str) -> ObjectRow:
    row = await ctx.store.objects.get(ctx.workspace_id, "agent", agent_id)
    if row is None:
        raise not_found("agent", agent_id)
    return row


def _row(ctx: Context, agent: Agent) -> ObjectRow:
    return ObjectRow(
        workspace_id=ctx.workspace_id,
        kind="agent",
        id=agent.id,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
        body=agent.encode(),
        number=agent.version,
    )


def _version_row(row: ObjectRow) -> ObjectRow:
    """A version is the agent as it was then, kept as the agent's numbered child."""
    return replace(row, kind="agent_version", id=f"{row.id}@{row.number}", parent_id=row.id, created_at=row.updated_at)


def _as_archived(body: bytes, archived_at: str | None) -> bytes:
    """The same agent with the time of its archiving, which older versions share and their stored bytes lack."""
    return orjson.dumps({**orjson.loads(body), "archived_at": archived_at}) if archived_at else body
