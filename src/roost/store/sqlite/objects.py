"""Plain objects, their children and their numbered versions."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from roost.store.protocols import ObjectQuery, ObjectRow
from roost.store.ranges import page_range, time_range
from roost.store.sqlite.reader import Reader, Rows

_NUMBER_MAX = (1 << 63) - 1


class SqliteObjects:
    """`roost.store.protocols.Objects`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, workspace_id: str, kind: str, id: str) -> ObjectRow | None:
        row = self._reader.near.first("object_get", workspace_id=workspace_id, kind=kind, id=id)
        return ObjectRow(*row) if row else None

    async def numbered(self, workspace_id: str, kind: str, parent_id: str, number: int) -> ObjectRow | None:
        row = self._reader.near.first(
            "object_numbered", workspace_id=workspace_id, kind=kind, parent_id=parent_id, number=number
        )
        return ObjectRow(*row) if row else None

    async def many(self, workspace_id: str, kind: str, ids: Sequence[str]) -> list[ObjectRow]:
        asked = orjson.dumps(list(ids)).decode()
        rows = await self._reader.far(
            lambda rows: rows.all("objects_many", workspace_id=workspace_id, kind=kind, ids=asked)
        )
        return [ObjectRow(*row) for row in rows]

    async def list(self, query: ObjectQuery) -> list[ObjectRow]:
        page = _numbered_page if query.by_number else _timed_page
        return await self._reader.far(lambda rows: page(rows, query))

    async def expired(self, *, by: str, limit: int) -> Sequence[ObjectRow]:
        rows = await self._reader.far(lambda rows: rows.all("files_expired", by=by, limit=limit))
        return [ObjectRow(*row) for row in rows]

    async def content_in_use(self, names: Sequence[str], *, expired_by: str) -> set[str]:
        asked = orjson.dumps(list(names)).decode()
        found = await self._reader.far(lambda rows: rows.all("content_in_use", names=asked, expired_by=expired_by))
        return {row[0] for row in found}


def _timed_page(rows: Rows, query: ObjectQuery) -> list[ObjectRow]:
    which = {"workspace_id": query.workspace_id, "kind": query.kind, "include_archived": query.include_archived}
    if query.parent_id is not None:
        which["parent_id"] = query.parent_id
    name = {
        (False, True): "objects_newest",
        (False, False): "objects_oldest",
        (True, True): "children_newest",
        (True, False): "children_oldest",
    }[query.parent_id is not None, query.descending]
    between = page_range(query.created, query.after, descending=query.descending)._asdict()
    return [ObjectRow(*row) for row in rows.all(name, **which, **between, limit=query.limit)]


def _numbered_page(rows: Rows, query: ObjectQuery) -> list[ObjectRow]:
    if query.parent_id is None:
        raise ValueError("only the children of one object are ordered by number")
    floor, ceiling = time_range(query.created)
    after = None if query.after is None else int(query.after.key)
    found = rows.all(
        "numbered_newest" if query.descending else "numbered_oldest",
        workspace_id=query.workspace_id,
        kind=query.kind,
        parent_id=query.parent_id,
        include_archived=query.include_archived,
        floor=floor,
        ceiling=ceiling,
        low=-1 if after is None or query.descending else after,
        high=_NUMBER_MAX if after is None or not query.descending else after,
        limit=query.limit,
    )
    return [ObjectRow(*row) for row in found]
