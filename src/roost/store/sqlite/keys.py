"""API keys and the answers recorded under idempotency keys."""

from __future__ import annotations

from roost.store.protocols import KeyRow, Replay
from roost.store.sqlite.reader import Reader


class SqliteKeys:
    """`roost.store.protocols.Keys`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def find(self, key_hash: str) -> KeyRow | None:
        row = self._reader.near.first("key_find", key_hash=key_hash)
        return KeyRow(*row) if row else None

    async def list(self, workspace_id: str) -> list[KeyRow]:
        rows = await self._reader.far(lambda rows: rows.all("keys_list", workspace_id=workspace_id))
        return [KeyRow(*row) for row in rows]

    async def replay(self, workspace_id: str, key: str, path: str, *, since: str) -> Replay | None:
        row = self._reader.near.first("replay_find", workspace_id=workspace_id, key=key, path=path, since=since)
        return Replay(*row) if row else None
