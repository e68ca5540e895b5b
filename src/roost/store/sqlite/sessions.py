"""Session rows."""

from __future__ import annotations

import orjson

from roost.store.protocols import SessionQuery, SessionRow
from roost.store.ranges import page_range
from roost.store.sqlite.reader import Reader


class SqliteSessions:
    """`roost.store.protocols.Sessions`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def get(self, workspace_id: str, id: str) -> SessionRow | None:
        row = self._reader.near.first("session_get", workspace_id=workspace_id, id=id)
        return SessionRow(*row) if row else None

    async def load(self, id: str) -> SessionRow | None:
        row = self._reader.near.first("session_load", id=id)
        return SessionRow(*row) if row else None

    async def list(self, query: SessionQuery) -> list[SessionRow]:
        name = "sessions_newest" if query.descending else "sessions_oldest"
        parameters = page_range(query.created, query.after, descending=query.descending)._asdict() | {
            "workspace_id": query.workspace_id,
            "agent_id": query.agent_id,
            "agent_version": query.agent_version,
            "deployment_id": query.deployment_id,
            "statuses": orjson.dumps(query.statuses).decode(),
            "include_archived": query.include_archived,
            "limit": query.limit,
        }
        rows = await self._reader.far(lambda rows: rows.all(name, **parameters))
        return [SessionRow(*row) for row in rows]

    async def ids(self) -> set[str]:
        return {row[0] for row in await self._reader.far(lambda rows: rows.all("session_ids"))}

    async def using_environment(self, environment_id: str) -> bool:
        return self._reader.near.first("environment_used", environment_id=environment_id) is not None
