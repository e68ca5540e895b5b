"""What a session has at hand (contract/sessions.md, Resources).

Files come and go while it lives: its sandbox is brought in line before the next tool call, without ending anything in
it. Nothing else can be added to a session or taken from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from roost.operations.cursor import Cursor as PageCursor
from roost.operations.cursor import parse
from roost.operations.mounts import mount
from roost.operations.resource import Context, Reply, Write
from roost.operations.sessions import existing
from roost.operations.view import resource_view
from roost.store.protocols import Batch, SessionRow, Statement
from roost.store.statements import object_delete, object_unarchived, session_update
from roost.wire.errors import invalid, not_found
from roost.wire.pages import Cursor, LongLimit, Query, page
from roost.wire.resources import RESOURCES_MAX, FileResourceParams, ResourceUpdate
from roost.wire.shape import encode


class ResourcesQuery(Query):
    """Without `limit` all of them."""

    limit: LongLimit | None = None
    page: Cursor | None = None


async def list_(ctx: Context, *, session_id: str, query: ResourcesQuery) -> Reply:
    resources = await _resources(ctx, session_id)
    name = f"resources:{session_id}"
    place = parse(query.page, name, descending=False, by_number=True)
    start = 0 if place is None else int(place.key)
    end = len(resources) if query.limit is None else start + query.limit
    shown = [encode(resource) for resource in resources[start:end]]
    return Reply(page(shown, PageCursor(name, False, end, "").text() if end < len(resources) else None))


async def retrieve(ctx: Context, *, session_id: str, resource_id: str) -> Reply:
    return Reply(encode(_of(await _resources(ctx, session_id), resource_id)))


async def add(ctx: Context, *, session_id: str, body: FileResourceParams) -> Write:
    """One more file, at once: the session has it at its next tool call."""
    row = await _open(ctx, session_id)
    kept = orjson.loads(row.body)["resources"]
    if len(kept) >= RESOURCES_MAX:
        raise invalid(f"The session {session_id} has {RESOURCES_MAX} resources, the most allowed.")
    taken = [resource["mount_path"] for resource in kept]
    mounted = await mount(ctx, session_id, body, taken, ctx.now())
    before = (object_unarchived(ctx.workspace_id, "file", body.file_id), mounted.insert)
    batch = _changed(ctx, row, [*kept, mounted.kept()], *before)
    return Write(batch, Reply(mounted.resource.encode()))


async def update(ctx: Context, *, session_id: str, resource_id: str, body: ResourceUpdate) -> Reply:
    """Rotates the token of a repository; a session has only files yet, which hold none."""
    resource = _of(await _resources(ctx, session_id), resource_id)
    raise invalid(f"authorization_token: the resource {resource_id} is a {resource['type']} and has no token")


async def delete(ctx: Context, *, session_id: str, resource_id: str) -> Write:
    """Takes a file from the session, with the copy that was the session's own; the original stays."""
    row = await _open(ctx, session_id)
    kept = orjson.loads(row.body)["resources"]
    gone = _of(kept, resource_id)
    copy = await ctx.store.objects.get(ctx.workspace_id, "file", gone["file_id"])
    before = (object_delete(ctx.workspace_id, "file", gone["file_id"]),) if copy else ()
    batch = _changed(ctx, row, [resource for resource in kept if resource is not gone], *before)
    return Write(batch, Reply(encode({"id": resource_id, "type": "session_resource_deleted"})))


async def _resources(ctx: Context, session_id: str) -> list[Mapping[str, Any]]:
    row = await existing(ctx, session_id)
    return [resource_view(resource) for resource in orjson.loads(row.body)["resources"]]


async def _open(ctx: Context, session_id: str) -> SessionRow:
    row = await existing(ctx, session_id)
    if row.archived_at or row.status == "terminated":
        raise invalid(f"The session {session_id} has ended and its resources cannot be changed.")
    return row


def _of(resources: Sequence[Mapping[str, Any]], resource_id: str) -> Mapping[str, Any]:
    for resource in resources:
        if resource["id"] == resource_id:
            return resource
    raise not_found("resource in this session", resource_id)


def _changed(ctx: Context, row: SessionRow, resources: Sequence[Mapping[str, Any]], *before: Statement) -> Batch:
    body = encode(orjson.loads(row.body) | {"resources": resources})
    at = ctx.after(row.updated_at)
    update = session_update(row.id, body=body, updated_at=at, was_updated_at=row.updated_at, config_changed=True)
    return Batch((*before, update))
