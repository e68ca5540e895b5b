"""How a session's row looks on the wire: what is kept, put together with what only the moment knows."""

from __future__ import annotations

from typing import Any

import orjson

from roost.core.clock import parse_timestamp
from roost.store.protocols import SessionRow
from roost.wire.agents import AgentConfig
from roost.wire.events.session import UsageSnapshot
from roost.wire.sessions import Session, Stats, Thread, ThreadStats


def session_reply(row: SessionRow, now: str) -> bytes:
    kept, usage = orjson.loads(row.body), orjson.loads(row.usage)
    active_s = _active_s(row, usage, now)
    return Session(
        id=row.id,
        agent=kept["agent"],
        environment_id=row.environment_id,
        status=row.status,
        title=kept["title"],
        metadata=kept["metadata"],
        resources=[resource_view(resource) for resource in kept["resources"]],
        stats=Stats(active_seconds=active_s, duration_seconds=_duration_s(row, now)),
        usage=_usage(usage, active_s),
        deployment_id=row.deployment_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
        archived_at=row.archived_at,
    ).encode()


def thread_reply(row: SessionRow, now: str) -> bytes:
    """The primary thread, which has the session's numbers while it is the only one."""
    agent, usage = orjson.loads(row.body)["agent"], orjson.loads(row.usage)
    active_s = _active_s(row, usage, now)
    has_run = active_s > 0 or row.status == "running"
    return Thread(
        id=row.thread_id,
        session_id=row.id,
        agent=AgentConfig.model_validate({name: agent[name] for name in AgentConfig.model_fields}),
        status=row.status,
        stats=ThreadStats(active_seconds=active_s, duration_seconds=_duration_s(row, now)) if has_run else None,
        usage=_usage(usage, active_s) if usage["active_ms"] else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        archived_at=row.archived_at,
    ).encode()


def resource_view(resource: dict[str, Any]) -> Any:
    """A resource without what never leaves the server."""
    return {name: value for name, value in resource.items() if name != "sha256"}


def _usage(usage: dict[str, Any], active_s: float) -> UsageSnapshot:
    counters = {name: value for name, value in usage.items() if name != "active_ms"}
    return UsageSnapshot.model_validate({**counters, "active_seconds": active_s})


def _active_s(row: SessionRow, usage: dict[str, Any], now: str) -> float:
    closed_s: float = usage["active_ms"] / 1000
    return closed_s + (_seconds(row.running_since, now) if row.running_since else 0.0)


def _duration_s(row: SessionRow, now: str) -> float:
    return _seconds(row.created_at, row.updated_at if row.status == "terminated" else now)


def _seconds(since: str, until: str) -> float:
    return max(0.0, (parse_timestamp(until) - parse_timestamp(since)).total_seconds())
