"""The operator's calls under `/roost/v1`: keys, who holds which session, and how the machine is."""

from __future__ import annotations

import hashlib
import secrets

from pydantic import Field

from roost.core.ids import new_id
from roost.operations.environments import is_self_hosted
from roost.operations.resource import Context, Reply, Write
from roost.store.protocols import Batch, KeyRow
from roost.store.statements import key_insert, key_revoke
from roost.wire.errors import invalid, not_found
from roost.wire.keys import DEFAULT_WORKSPACE, Key, KeyCreate, NewKey, Owner, WorkspaceId
from roost.wire.pages import Query, page
from roost.wire.shape import encode


class WorkspaceQuery(Query):
    workspace_id: WorkspaceId = DEFAULT_WORKSPACE


class OwnersQuery(Query):
    """Of all workspaces, unless one is named."""

    workspace_id: WorkspaceId | None = Field(None)


def key_digest(key: str) -> str:
    """How keys are kept. They are random and long, so that a plain digest cannot be searched."""
    return hashlib.sha256(key.encode()).hexdigest()


async def health(ctx: Context) -> Reply:
    """Answers while the server serves; needs no key."""
    return Reply(b'{"status":"ok"}')


async def doctor(ctx: Context) -> Reply:
    return Reply(encode(ctx.doctor()))


async def owners(ctx: Context, *, query: OwnersQuery) -> Reply:
    found = await ctx.store.queue.owners(query.workspace_id)
    items = [Owner(session_id=session, owner=owner, lease_until=until).encode() for session, owner, until in found]
    return Reply(page(items, None))


async def keys_create(ctx: Context, *, body: KeyCreate) -> Write:
    """A key of the workspace, or of one environment's workers. Raises ApiError for an environment that has none."""
    if body.environment_id is not None:
        environment = await ctx.store.objects.get(body.workspace_id, "environment", body.environment_id)
        if environment is None:
            raise not_found("environment", body.environment_id)
        if not is_self_hosted(environment):
            raise invalid("environment_id: only self_hosted environments have workers with a key of their own")
    row = KeyRow(new_id("apikey"), body.workspace_id, body.name, ctx.now(), environment_id=body.environment_id)
    prefix = "sk-roost" if body.environment_id is None else "sk-roost-env"
    key = f"{prefix}-{secrets.token_urlsafe(32)}"
    reply = NewKey(**_fields(row), key=key)
    return Write(Batch((key_insert(row, key_digest(key)),)), Reply(reply.encode()))


async def keys_list(ctx: Context, *, query: WorkspaceQuery) -> Reply:
    rows = await ctx.store.keys.list(query.workspace_id)
    return Reply(page([Key(**_fields(row)).encode() for row in rows], None))


async def keys_revoke(ctx: Context, *, key_id: str, query: WorkspaceQuery) -> Reply | Write:
    """Ends a key for good; revoking it again changes nothing."""
    rows = {row.id: row for row in await ctx.store.keys.list(query.workspace_id)}
    row = rows.get(key_id)
    if row is None:
        raise not_found("key in this workspace", key_id)
    if row.revoked_at:
        return Reply(Key(**_fields(row)).encode())
    now = ctx.now()
    revoked = Key(**{**_fields(row), "revoked_at": now})
    return Write(Batch((key_revoke(row.workspace_id, key_id, at=now),)), Reply(revoked.encode()))


def _fields(row: KeyRow) -> dict[str, str | None]:
    return {
        "id": row.id,
        "workspace_id": row.workspace_id,
        "name": row.name,
        "environment_id": row.environment_id,
        "created_at": row.created_at,
        "revoked_at": row.revoked_at,
    }
