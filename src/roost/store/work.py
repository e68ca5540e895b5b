"""What the rest of Roost knows of the store's work queues: sessions that wait for a worker of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roost.store.protocols import Position
from roost.wire.work import State


@dataclass(frozen=True, slots=True)
class WorkRow:
    """A session that waits for a worker, or that one holds (contract/work-queue.md)."""

    id: str
    workspace_id: str
    environment_id: str
    session_id: str
    state: State
    created_at: str
    metadata: bytes
    polled_at: str | None
    """When it was last handed out."""
    acknowledged_at: str | None
    started_at: str | None
    latest_heartbeat_at: str | None
    lease_until: str | None
    """From the acknowledgement on: when the worker counts as gone if it falls silent."""
    stop_requested_at: str | None
    stopped_at: str | None
    token_hash: str | None
    """Of the token that the last poll gave out; None before, and once the item is stopped."""
    revision: int
    """Counts the changes, so that each is made to what was read."""


@dataclass(frozen=True, slots=True)
class WorkStats:
    """Of one queue: items never polled, items polled but not acknowledged, and the age of the oldest of both."""

    depth: int
    pending: int
    oldest_queued_at: str | None


class Work(Protocol):
    async def get(self, environment_id: str, id: str) -> WorkRow | None: ...

    async def by_token(self, token_hash: str) -> WorkRow | None: ...

    async def available(self, environment_id: str, *, now: str, polled_before: str) -> bool:
        """Whether `work_claim` would find an item."""
        ...

    async def list(self, environment_id: str, *, limit: int, after: Position | None) -> list[WorkRow]:
        """Newest first."""
        ...

    async def stats(self, environment_id: str) -> WorkStats: ...


def work_topic(environment_id: str) -> str:
    """Hinted at when a self-hosted environment has new work."""
    return f"work:{environment_id}"
