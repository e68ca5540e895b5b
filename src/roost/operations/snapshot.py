"""The agent of a session: a copy taken when the session is made, with the overrides of that session put in."""

from __future__ import annotations

from typing import Any

from roost.operations.agents import model_config
from roost.operations.resource import Context
from roost.operations.tools import resolved
from roost.store.protocols import ObjectRow
from roost.wire.agents import Agent, SessionAgent
from roost.wire.errors import ApiError, invalid
from roost.wire.sessions import AgentOverrides, AgentReference


async def snapshot(ctx: Context, reference: AgentReference | AgentOverrides) -> SessionAgent:
    """Raises ApiError: 404 for an unknown agent or version, 400 for an archived agent or an override that clears the
    model (behaviour/01 section 1.3)."""
    row = await ctx.store.objects.get(ctx.workspace_id, "agent", reference.id)
    if row is None:
        raise ApiError(404, f"agent: there is no agent with the id {reference.id!r}")
    if row.archived_at:
        raise invalid(f"agent: the agent {reference.id} is archived; no new sessions can be made from it")
    agent = Agent.model_validate_json(await _version_body(ctx, row, reference.version))
    taken = SessionAgent.model_validate(agent.model_dump(include=set(SessionAgent.model_fields)))
    if isinstance(reference, AgentReference):
        return taken
    return taken.model_copy(update=await _overrides(ctx, reference))


async def _version_body(ctx: Context, agent: ObjectRow, number: int | None) -> bytes:
    if number is None or number == agent.number:
        return agent.body
    version = await ctx.store.objects.numbered(ctx.workspace_id, "agent_version", agent.id, number)
    if version is None:
        raise ApiError(404, f"agent.version: the agent {agent.id} has no version {number}")
    return version.body


async def _overrides(ctx: Context, sent: AgentOverrides) -> dict[str, Any]:
    given = sent.model_fields_set
    changes: dict[str, Any] = {}
    if "model" in given:
        if sent.model is None:
            raise invalid("agent.model: a session needs a model", code="agent_model_required")
        changes["model"] = await model_config(ctx, sent.model)
    if "system" in given:
        changes["system"] = sent.system or None
    if "tools" in given:
        changes["tools"] = resolved(sent.tools or [])
    return changes
