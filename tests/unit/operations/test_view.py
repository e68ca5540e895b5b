"""Sessions and threads look as `roost.wire.sessions` declares them, field by field and in that order."""

from __future__ import annotations

import orjson
import pytest

from roost.operations.sessions import NO_USAGE
from roost.operations.view import session_reply, thread_reply
from roost.store.protocols import SessionRow
from roost.wire.agents import ModelConfig, SessionAgent
from roost.wire.resources import FileResource
from roost.wire.sessions import Session, Thread

NOON, LATER = "2026-01-01T12:00:00.000000Z", "2026-01-01T12:00:10.000000Z"


def row(**changes: object) -> SessionRow:
    model = ModelConfig(id="m", effort=None, inference_geo=None, speed="standard")
    agent = SessionAgent(id="agent_1", version=1, name="n", description=None, system=None, model=model, tools=[])
    resource = FileResource(id="sesrsc_1", file_id="file_1", mount_path="/p", created_at=NOON, updated_at=NOON)
    body = {
        "agent": agent.model_dump(),
        "title": None,
        "metadata": {},
        "resources": [{**resource.model_dump(), "sha256": "secret"}],
        "vault_ids": [],
    }
    fields: dict[str, object] = {
        "id": "sesn_1",
        "workspace_id": "wrkspc_1",
        "status": "idle",
        "agent_id": "agent_1",
        "agent_version": 1,
        "environment_id": "env_1",
        "thread_id": "sthr_1",
        "created_at": NOON,
        "updated_at": NOON,
        "body": orjson.dumps(body),
        "usage": NO_USAGE,
    }
    return SessionRow(**(fields | changes))  # type: ignore[arg-type]


RAN = {**orjson.loads(NO_USAGE), "active_ms": 2_500, "input_tokens": 7}


@pytest.mark.parametrize("one", [row(), row(usage=orjson.dumps(RAN)), row(status="running", running_since=NOON)])
def test_the_replies_are_what_the_wire_declares(one: SessionRow) -> None:
    for reply, shape in ((session_reply(one, LATER), Session), (thread_reply(one, LATER), Thread)):
        assert orjson.loads(shape.model_validate_json(reply).encode()) == orjson.loads(reply)
        assert list(orjson.loads(reply)) == list(shape.model_fields)


def test_the_open_running_interval_counts_as_active() -> None:
    running = row(usage=orjson.dumps(RAN), status="running", running_since=NOON)
    session = Session.model_validate_json(session_reply(running, LATER))
    assert session.stats.active_seconds == session.usage.active_seconds == 12.5
    assert session.stats.duration_seconds == 10.0


def test_what_is_private_is_not_in_the_reply() -> None:
    assert b"secret" not in session_reply(row(), LATER)


def test_a_thread_has_stats_once_it_ran_and_usage_once_it_was_idle_again() -> None:
    new, running, ran = (
        Thread.model_validate_json(thread_reply(one, LATER))
        for one in (row(), row(status="running", running_since=NOON), row(usage=orjson.dumps(RAN)))
    )
    assert (new.stats, new.usage) == (None, None)
    assert running.stats is not None
    assert running.usage is None
    assert ran.usage is not None
    assert ran.usage.input_tokens == 7
