"""Pages of lists that are read in one direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from roost.operations.cursor import Cursor, parse
from roost.operations.resource import Context, Reply
from roost.store.protocols import ObjectQuery, ObjectRow
from roost.wire.pages import page

T = TypeVar("T")


def cut(rows: list[T], limit: int, place: Callable[[T], Cursor]) -> tuple[list[T], str | None]:
    """The rows of one page, given one row more than it may have, and the cursor of the next if there is one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], place(rows[limit - 1]).text()


async def rows_of_page(ctx: Context, query: ObjectQuery, cursor: str | None) -> tuple[list[ObjectRow], str | None]:
    """The rows of one page and the cursor of the next. Reads one row more than it gives, to know whether there is one.

    Raises ApiError for an unusable cursor.
    """
    name = f"{query.kind}:{query.parent_id or ''}"
    place = parse(cursor, name, descending=query.descending, by_number=query.by_number, created=query.created)
    after = place.position if place else None
    rows = await ctx.store.objects.list(replace(query, limit=query.limit + 1, after=after))

    def cursor_of(last: ObjectRow) -> Cursor:
        key = last.number if query.by_number and last.number is not None else last.created_at
        return Cursor(name, query.descending, key, last.id)

    return cut(rows, query.limit, cursor_of)


async def listed(ctx: Context, query: ObjectQuery, cursor: str | None) -> Reply:
    """One page; the stored bytes go out as they are."""
    rows, next_page = await rows_of_page(ctx, query, cursor)
    return Reply(page([row.body for row in rows], next_page))
