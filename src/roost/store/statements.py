"""The statements there are: functions that build batches, without any SQL in them.

Every function here has a query of the same name in each dialect's `queries.sql`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roost.store.passages import EgressRow
from roost.store.protocols import (
    WAKE_TOPIC,
    Batch,
    Claim,
    EventDraft,
    Fence,
    KeyRow,
    ObjectRow,
    Replay,
    SessionRow,
    Statement,
    Status,
    input_topic,
    session_topic,
)
from roost.store.work import WorkRow
from roost.wire.events.event import Event

_UPDATED = ("workspace_id", "kind", "id", "body", "number", "updated_at", "archived_at", "private")
_PASSED = (
    "session_id",
    "at",
    "method",
    "host",
    "port",
    "decision",
    "reason",
    "sent_bytes",
    "received_bytes",
    "duration_ms",
)
EGRESS_ROWS_MAX = 10_000
"""How many entries a session's egress log keeps."""
_QUEUED = ("id", "type", "head", "thread_id", "answers")
_WORKED = (
    "id",
    "state",
    "metadata",
    "acknowledged_at",
    "started_at",
    "latest_heartbeat_at",
    "lease_until",
    "stop_requested_at",
    "stopped_at",
    "token_hash",
    "revision",
)


def _fields(row: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a flat dataclass with slots. `dataclasses.asdict` copies deeply, and takes five times as long."""
    return {name: getattr(row, name) for name in names or row.__slots__}


# --- objects --------------------------------------------------------------------------------------------------------


def object_insert(row: ObjectRow) -> Statement:
    return Statement("object_insert", _fields(row), rows=1)


def object_update(row: ObjectRow, *, was_updated_at: str) -> Statement:
    """Replaces body, number, updated_at, archived_at and private, if nobody changed the object since it was read."""
    return Statement("object_update", _fields(row, _UPDATED) | {"was_updated_at": was_updated_at}, rows=1)


def object_delete(workspace_id: str, kind: str, id: str) -> Statement:
    return Statement("object_delete", {"workspace_id": workspace_id, "kind": kind, "id": id}, rows=1)


def objects_delete_children(workspace_id: str, kind: str, parent_id: str) -> Statement:
    return Statement("objects_delete_children", {"workspace_id": workspace_id, "kind": kind, "parent_id": parent_id})


def object_unarchived(workspace_id: str, kind: str, id: str) -> Statement:
    """Holds the batch to an object that exists and is not archived; Conflict otherwise."""
    return Statement("object_unarchived", {"workspace_id": workspace_id, "kind": kind, "id": id}, rows=1)


def environment_unused(environment_id: str) -> Statement:
    """Holds the batch to an environment that no session refers to; returns one row then, Conflict otherwise."""
    return Statement("environment_unused", {"environment_id": environment_id}, rows=1)


# --- sessions -------------------------------------------------------------------------------------------------------


def session_insert(row: SessionRow) -> Statement:
    return Statement("session_insert", _fields(row), rows=1)


def session_update(
    id: str, *, body: bytes, updated_at: str, was_updated_at: str, config_changed: bool = False
) -> Statement:
    """Replaces the body if the row was not updated since it was read. `config_changed` raises `config_rev`."""
    return Statement(
        "session_update",
        {
            "id": id,
            "body": body,
            "updated_at": updated_at,
            "was_updated_at": was_updated_at,
            "config_step": int(config_changed),
        },
        rows=1,
    )


def session_quiet(id: str) -> Statement:
    """Holds the batch to a session that is idle or terminated, and fences out a late brain by raising the epoch.

    A brain that had just claimed it for new input is fenced out too, and the session is due again at once.
    """
    return Statement("session_quiet", {"id": id}, rows=1)


def session_open(id: str) -> Statement:
    """Holds the batch to a session that is neither archived nor terminated."""
    return Statement("session_open", {"id": id}, rows=1)


def session_archive(id: str, *, at: str) -> Statement:
    """Marks archived and terminated, and drops any wake-up."""
    return Statement("session_archive", {"id": id, "at": at}, rows=1)


def session_delete(id: str) -> tuple[Statement, ...]:
    """Removes the row, its events, its inputs and its egress log."""
    return tuple(
        Statement(q, {"id": id})
        for q in ("session_delete_events", "session_delete_inputs", "session_delete_egress", "session_delete")
    )


def session_progress(id: str, *, status: Status, usage: bytes, running_since: str | None, at: str) -> Statement:
    """What the brain knows better than the row: status, usage and the open running interval."""
    return Statement(
        "session_progress",
        {"id": id, "status": status, "usage": usage, "running_since": running_since, "at": at},
        rows=1,
    )


# --- the log --------------------------------------------------------------------------------------------------------


def draft(event: Event, *, answers: str | None = None, private: bytes | None = None) -> EventDraft:
    """An event, ready to be appended or queued."""
    return EventDraft(event.id, event.type, event.head(), answers=answers, private=private)


def append(session_id: str, events: Sequence[EventDraft], *, now: str) -> tuple[Statement, ...]:
    """Writes events at the end of the session's log, in order.

    The session row is advanced first, under its lock, so sequence order is commit order; every event of one append has
    the same time. The last statement of each event returns (seq, ts).
    """
    if not events:
        return ()
    advance = Statement("log_advance", {"session_id": session_id, "count": len(events), "now": now}, rows=1)
    inserts = (
        Statement(
            "event_insert",
            _fields(event) | {"session_id": session_id, "back": len(events) - 1 - place},
            rows=1,
        )
        for place, event in enumerate(events)
    )
    return (advance, *inserts)


def enqueue(session_id: str, inputs: Sequence[EventDraft], *, now: str) -> tuple[Statement, ...]:
    """Queues inputs behind those already waiting. Each insert returns (n,). Raises ValueError for a private part."""
    if any(draft.private is not None for draft in inputs):
        raise ValueError("an input has no private part before it is admitted")
    return tuple(
        Statement("input_insert", _fields(draft, _QUEUED) | {"session_id": session_id, "received_at": now}, rows=1)
        for draft in inputs
    )


def input_admit(session_id: str, n: int, *, event_id: str) -> Statement:
    """Marks an input as taken up by the event with the same id, which the same batch appends before."""
    return Statement("input_admit", {"session_id": session_id, "n": n, "event_id": event_id}, rows=1)


def wake(session_id: str, *, at: str) -> Statement:
    """Asks for a brain, no later than `at`; counted, so that a release which has not seen it fails."""
    return Statement("session_wake", {"id": session_id, "at": at}, rows=1)


def release(claim: Claim, *, seen_wake_no: int, wake_at: str | None) -> Statement:
    """Gives the lease back, unless something woke the session since `seen_wake_no`.

    Returns one row when released and none when there is new work: then the owner keeps the lease and goes on.
    """
    return Statement(
        "session_release",
        {"id": claim.session_id, "epoch": claim.epoch, "seen_wake_no": seen_wake_no, "wake_at": wake_at},
    )


def hints(session_id: str, *, wakes: bool = False) -> tuple[str, ...]:
    """Whom to tell: those who follow the session and, for what a client sent, its brain."""
    if wakes:
        return (session_topic(session_id), input_topic(session_id), WAKE_TOPIC)
    return (session_topic(session_id),)


def fenced(claim: Claim, *statements: Statement, wakes: bool = False) -> Batch:
    """A brain's batch."""
    return Batch(statements, Fence(claim.session_id, claim.epoch), hints(claim.session_id, wakes=wakes))


# --- the way out -----------------------------------------------------------------------------------------------------


def egress_append(rows: Sequence[EgressRow]) -> tuple[Statement, ...]:
    """Adds to the egress logs of sessions that still exist, and keeps each one's newest `EGRESS_ROWS_MAX`."""
    inserts = tuple(Statement("egress_insert", _fields(row, _PASSED)) for row in rows)
    trims = (
        Statement("egress_trim", {"session_id": session_id, "kept": EGRESS_ROWS_MAX})
        for session_id in dict.fromkeys(row.session_id for row in rows)
    )
    return (*inserts, *trims)


# --- keys, idempotency ----------------------------------------------------------------------------------------------


def key_insert(row: KeyRow, key_hash: str) -> Statement:
    return Statement("key_insert", _fields(row) | {"key_hash": key_hash}, rows=1)


def key_revoke(workspace_id: str, id: str, *, at: str) -> Statement:
    return Statement("key_revoke", {"workspace_id": workspace_id, "id": id, "at": at}, rows=1)


def replay_insert(workspace_id: str, key: str, path: str, replay: Replay, *, now: str) -> Statement:
    """Records the answer with the write it belongs to; Conflict when the key was used in the meantime.

    Put `replays_expire` before it in the batch, or a key that outlived its time still counts as used.
    """
    return Statement(
        "replay_insert",
        {"workspace_id": workspace_id, "key": key, "path": path, "created_at": now} | _fields(replay),
        rows=1,
    )


def replays_expire(*, before: str) -> Statement:
    return Statement("replays_expire", {"before": before})


# --- the work of self-hosted environments ---------------------------------------------------------------------------


def work_ensure(id: str, session_id: str, *, now: str, only_busy: bool = False) -> Statement:
    """Queues an item for a session that the store holds, unless the session has one that is not stopped.

    With `only_busy` also unless a brain works on the session, or is about to.
    """
    return Statement(
        "work_ensure", {"id": id, "session_id": session_id, "created_at": now, "only_busy": int(only_busy)}
    )


def work_claim(environment_id: str, *, now: str, polled_before: str, token_hash: str) -> Statement:
    """Hands out the oldest free item: returns its row, or none. Any earlier token of the item ends.

    Free is what waits, what was polled before `polled_before` and never acknowledged, and what has a lapsed lease.
    """
    return Statement(
        "work_claim",
        {"environment_id": environment_id, "now": now, "polled_before": polled_before, "token_hash": token_hash},
    )


def work_update(row: WorkRow) -> Statement:
    """Replaces what may change, if nobody changed the item since it was read with this `revision`."""
    return Statement("work_update", _fields(row, _WORKED), rows=1)


def work_lapse(environment_id: str, *, now: str) -> Statement:
    """Ends items that were to stop and whose lease ran out: their worker is gone."""
    return Statement("work_lapse", {"environment_id": environment_id, "now": now})


def work_end(session_id: str, *, now: str) -> Statement:
    """Stops a session's item, if it has one; a worker that holds it is told at its next heartbeat."""
    return Statement("work_end", {"session_id": session_id, "now": now})


def work_delete_session(session_id: str) -> Statement:
    return Statement("work_delete_session", {"session_id": session_id})
