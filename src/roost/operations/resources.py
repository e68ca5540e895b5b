"""What a session has at hand. Reading works; changes while a session lives are not built yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from roost.operations.cursor import Cursor as PageCursor
from roost.operations.cursor import parse
from roost.operations.resource import Context, Reply
from roost.operations.sessions import existing
from roost.operations.view import resource_view
from roost.wire.errors import not_found
from roost.wire.pages import Cursor, LongLimit, Query, page
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
    for resource in await _resources(ctx, session_id):
        if resource["id"] == resource_id:
            return Reply(encode(resource))
    raise not_found("resource in this session", resource_id)


async def _resources(ctx: Context, session_id: str) -> list[Mapping[str, Any]]:
    row = await existing(ctx, session_id)
    return [resource_view(resource) for resource in orjson.loads(row.body)["resources"]]
