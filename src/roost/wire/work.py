"""Work items of self-hosted environments (contract/work-queue.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from roost.wire.fields import MetadataPatch
from roost.wire.pages import Query
from roost.wire.shape import Params, Wire

BLOCK_MS_MAX = 999
RECLAIM_MS_DEFAULT = 5_000
RECLAIM_MS_MAX = 86_400_000
WORKER_ID_CHARS_MAX = 256
TTL_DEFAULT_S = 300
TTL_MIN_S, TTL_MAX_S = 10, 600
"""Ours: the contract leaves open how far a worker may move its lease."""
NO_HEARTBEAT = "NO_HEARTBEAT"
"""What a worker expects to be the last heartbeat of an item that has had none."""

State = Literal["queued", "starting", "active", "stopping", "stopped"]


class PollQuery(Query):
    block_ms: Annotated[int, Field(ge=1, le=BLOCK_MS_MAX)] | None = None
    reclaim_older_than_ms: Annotated[int, Field(ge=0, le=RECLAIM_MS_MAX)] = RECLAIM_MS_DEFAULT
    worker_id: Annotated[str, Field(max_length=WORKER_ID_CHARS_MAX)] | None = None
    """The header `Anthropic-Worker-ID`."""


class HeartbeatQuery(Query):
    expected_last_heartbeat: Annotated[str, Field(max_length=64)] | None = None
    desired_ttl_seconds: int | None = None


class WorkStop(Params):
    force: bool | None = None


class WorkUpdate(Params):
    metadata: MetadataPatch


class WorkData(Wire):
    type: Literal["session"] = "session"
    id: str


class Work(Wire):
    id: str
    type: Literal["work"] = "work"
    environment_id: str
    data: WorkData
    state: State
    metadata: dict[str, str]
    secret: str | None
    """Only in the reply to the poll that hands the item out."""
    created_at: str
    acknowledged_at: str | None
    started_at: str | None
    latest_heartbeat_at: str | None
    stop_requested_at: str | None
    stopped_at: str | None


class Heartbeat(Wire):
    type: Literal["work_heartbeat"] = "work_heartbeat"
    state: State
    lease_extended: bool
    ttl_seconds: int
    last_heartbeat: str


class WorkQueueStats(Wire):
    type: Literal["work_queue_stats"] = "work_queue_stats"
    depth: int
    pending: int
    oldest_queued_at: str | None
    workers_polling: int
