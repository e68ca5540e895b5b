"""Environments (contract/environments.md, behaviour/01 section 1.4). Changes reach sandboxes started after them."""

from __future__ import annotations

from typing import Any

import orjson

from roost.core.ids import new_id
from roost.operations.lists import listed
from roost.operations.resource import Context, Reply, Write
from roost.store.protocols import Batch, ObjectQuery, ObjectRow
from roost.store.statements import environment_unused, object_delete, object_insert, object_update
from roost.wire.environments import (
    CloudConfig,
    CloudConfigParams,
    Config,
    ConfigParams,
    Environment,
    EnvironmentCreate,
    EnvironmentUpdate,
    Limited,
    LimitedParams,
    Networking,
    NetworkingParams,
    SelfHostedConfig,
    SelfHostedConfigParams,
    Unrestricted,
)
from roost.wire.errors import invalid, not_found
from roost.wire.fields import merged
from roost.wire.pages import PageQuery
from roost.wire.shape import encode


class EnvironmentsQuery(PageQuery):
    include_archived: bool = False


async def create(ctx: Context, *, body: EnvironmentCreate) -> Write:
    now = ctx.now()
    environment = Environment(
        id=new_id("env"),
        name=body.name,
        description=body.description,
        config=_merged(_first(body.config), body.config),
        metadata=body.metadata,
        created_at=now,
        updated_at=now,
    )
    row = _row(ctx, environment)
    return Write(Batch((object_insert(row),)), Reply(row.body))


async def retrieve(ctx: Context, *, environment_id: str) -> Reply:
    return Reply((await existing(ctx, environment_id)).body)


async def list_(ctx: Context, *, query: EnvironmentsQuery) -> Reply:
    wanted = ObjectQuery(ctx.workspace_id, "environment", include_archived=query.include_archived, limit=query.limit)
    return await listed(ctx, wanted, query.page)


async def update(ctx: Context, *, environment_id: str, body: EnvironmentUpdate) -> Reply | Write:
    row = await existing(ctx, environment_id)
    if row.archived_at:
        raise archived(environment_id)
    environment = Environment.model_validate_json(row.body)
    changed = environment.model_copy(update=_changes(environment, body))
    if changed == environment:
        return Reply(row.body)
    new = _row(ctx, changed.model_copy(update={"updated_at": ctx.after(row.updated_at)}))
    return Write(Batch((object_update(new, was_updated_at=row.updated_at),)), Reply(new.body))


async def archive(ctx: Context, *, environment_id: str) -> Reply | Write:
    row = await existing(ctx, environment_id)
    if row.archived_at:
        return Reply(row.body)
    now = ctx.after(row.updated_at)
    environment = Environment.model_validate_json(row.body)
    new = _row(ctx, environment.model_copy(update={"archived_at": now, "updated_at": now}))
    return Write(Batch((object_update(new, was_updated_at=row.updated_at),)), Reply(new.body))


async def delete(ctx: Context, *, environment_id: str) -> Write:
    """Only while no session refers to it; otherwise a session would lose the rules of its sandbox."""
    await existing(ctx, environment_id)
    if await ctx.store.sessions.using_environment(environment_id):
        raise invalid(f"The environment {environment_id} is in use by sessions; delete them first, or archive it.")
    gone = object_delete(ctx.workspace_id, "environment", environment_id)
    reply = Reply(encode({"id": environment_id, "type": "environment_deleted"}))
    return Write(Batch((environment_unused(environment_id), gone)), reply)


async def existing(ctx: Context, environment_id: str) -> ObjectRow:
    row = await ctx.store.objects.get(ctx.workspace_id, "environment", environment_id)
    if row is None:
        raise not_found("environment", environment_id)
    return row


def is_self_hosted(row: ObjectRow) -> bool:
    """Whether the tools of the environment's sessions are run by workers of the user's own."""
    return bool(orjson.loads(row.body)["config"]["type"] == "self_hosted")


def archived(environment_id: str) -> Exception:
    return invalid(f"The environment {environment_id} is archived.", code="environment_archived")


def _changes(environment: Environment, body: EnvironmentUpdate) -> dict[str, Any]:
    patch = {key: value or None for key, value in (body.metadata or {}).items()}
    changes: dict[str, Any] = {"metadata": merged(environment.metadata, patch)}
    if body.name is not None:
        changes["name"] = body.name
    if "description" in body.model_fields_set:
        changes["description"] = body.description
    changes["config"] = _merged(environment.config, body.config)
    return changes


def _first(sent: ConfigParams | None) -> Config:
    """What a new environment's config is merged into."""
    return SelfHostedConfig() if isinstance(sent, SelfHostedConfigParams) else CloudConfig()


def _merged(config: Config, sent: ConfigParams | None) -> Config:
    """What is left out of a config keeps its value, down to the single switches of limited networking."""
    if sent is not None and sent.type != config.type:
        raise invalid("config.type: cannot be changed after creation", code="invalid_config_type_change")
    if isinstance(config, SelfHostedConfig) or not isinstance(sent, CloudConfigParams) or not sent.networking:
        return config
    return config.model_copy(update={"networking": _networking(config.networking, sent.networking)})


def _networking(before: Networking, sent: NetworkingParams) -> Networking:
    if not isinstance(sent, LimitedParams):
        return Unrestricted()
    base = before if isinstance(before, Limited) else Limited()
    return base.model_copy(update=sent.model_dump(exclude_none=True))


def _row(ctx: Context, environment: Environment) -> ObjectRow:
    return ObjectRow(
        workspace_id=ctx.workspace_id,
        kind="environment",
        id=environment.id,
        created_at=environment.created_at,
        updated_at=environment.updated_at,
        body=environment.encode(),
        archived_at=environment.archived_at,
    )
