"""Pages of plain objects."""

from __future__ import annotations

from dataclasses import replace

from roost.operations.cursor import Cursor, parse
from roost.operations.resource import Context, Reply
from roost.store.protocols import ObjectQuery, ObjectRow
from roost.wire.pages import page


async def rows_of_page(ctx: Context, query: ObjectQuery, cursor: str | None) -> tuple[list[ObjectRow], str | None]:
    """The rows of one page and the cursor of the next. Reads one row more than it gives, to know whether there is one.

    Raises ApiError for an unusable cursor.
    """
    name = f"{query.kind}:{query.parent_id or ''}"
    place = parse(cursor, name, descending=query.descending, by_number=query.by_number, created=query.created)
    after = place.position if place else None
    rows = await ctx.store.objects.list(replace(query, limit=query.limit + 1, after=after))
    if len(rows) <= query.limit:
        return rows, None
    last = rows[query.limit - 1]
    key = last.number if query.by_number and last.number is not None else last.created_at
    return rows[: query.limit], Cursor(name, query.descending, key, last.id).text()


async def listed(ctx: Context, query: ObjectQuery, cursor: str | None) -> Reply:
    """One page; the stored bytes go out as they are."""
    rows, next_page = await rows_of_page(ctx, query, cursor)
    return Reply(page([row.body for row in rows], next_page))
