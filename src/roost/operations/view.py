"""How a session's row looks on the wire: what is kept, put together with what only the moment knows.

The kept parts are wire JSON already, so they are not validated again: a page of a hundred sessions would cost tens of
milliseconds. `roost.wire.sessions` declares the shapes, and a test compares.
"""

from __future__ import annotations

from typing import Any

import orjson

from roost.core.clock import parse_timestamp
from roost.store.protocols import SessionRow
from roost.wire.agents import AgentConfig
from roost.wire.shape import encode


def session_reply(row: SessionRow, now: str) -> bytes:
    kept, usage = orjson.loads(row.body), orjson.loads(row.usage)
    active_s = _active_s(row, usage, now)
    return encode(
        {
            "id": row.id,
            "type": "session",
            "agent": kept["agent"],
            "environment_id": row.environment_id,
            "status": row.status,
            "title": kept["title"],
            "metadata": kept["metadata"],
            "resources": [resource_view(resource) for resource in kept["resources"]],
            "vault_ids": [],
            "budget": None,
            "outcome_evaluations": [],
            "stats": {"active_seconds": active_s, "duration_seconds": _duration_s(row, now)},
            "usage": _usage(usage, active_s),
            "deployment_id": row.deployment_id,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "archived_at": row.archived_at,
        }
    )


def thread_reply(row: SessionRow, now: str) -> bytes:
    """The primary thread, which has the session's numbers while it is the only one."""
    agent, usage = orjson.loads(row.body)["agent"], orjson.loads(row.usage)
    active_s = _active_s(row, usage, now)
    has_run = active_s > 0 or row.status == "running"
    stats = {"active_seconds": active_s, "duration_seconds": _duration_s(row, now), "startup_seconds": None}
    return encode(
        {
            "id": row.thread_id,
            "type": "session_thread",
            "session_id": row.id,
            "parent_thread_id": None,
            "agent": {name: agent[name] for name in AgentConfig.model_fields},
            "status": row.status,
            "workflow_run_id": None,
            "stats": stats if has_run else None,
            "usage": _usage(usage, active_s) if usage["active_ms"] else None,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "archived_at": row.archived_at,
        }
    )


def resource_view(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource without what never leaves the server."""
    return {name: value for name, value in resource.items() if name != "sha256"}


def _usage(usage: dict[str, Any], active_s: float) -> dict[str, Any]:
    """The counters; the list cost is null until prices are known, and no server tools are built."""
    counters = {name: value for name, value in usage.items() if name != "active_ms"}
    return {
        **counters,
        "active_seconds": active_s,
        "list_cost": None,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
    }


def _active_s(row: SessionRow, usage: dict[str, Any], now: str) -> float:
    closed_s: float = usage["active_ms"] / 1000
    return closed_s + (_seconds(row.running_since, now) if row.running_since else 0.0)


def _duration_s(row: SessionRow, now: str) -> float:
    return _seconds(row.created_at, row.updated_at if row.status == "terminated" else now)


def _seconds(since: str, until: str) -> float:
    return max(0.0, (parse_timestamp(until) - parse_timestamp(since)).total_seconds())
