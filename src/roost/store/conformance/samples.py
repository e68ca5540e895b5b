"""Rows to write, times to write them at, and the few steps that many of the suite's tests begin with."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson

from roost.core.clock import timestamp
from roost.store import statements
from roost.store.protocols import Batch, Claim, EventDraft, ObjectRow, Row, SessionRow, Statement, Store

WORKSPACE = "wrkspc_1"
SESSION = "sesn_1"
LONG = 10_000
"""Seconds after which every lease of these tests has run out."""

E = TypeVar("E", bound=Exception)


def at(seconds: float) -> str:
    """A time, by its distance from noon."""
    return timestamp(datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=seconds))


def agent(id: str, *, created: float = 0, **changes: Any) -> ObjectRow:
    """A plain object."""
    row = ObjectRow(WORKSPACE, "agent", id, at(created), at(created), orjson.dumps({"id": id}))
    return replace(row, **changes)


def version(number: int, *, parent_id: str = "agent_1", **changes: Any) -> ObjectRow:
    """A numbered child."""
    row = agent(f"{parent_id}_v{number}", created=number, kind="agent_version", parent_id=parent_id, number=number)
    return replace(row, **changes)


def file(id: str, sha256: str, *, expires_at: str | None = None, **changes: Any) -> ObjectRow:
    """A file that refers to some content."""
    body, private = orjson.dumps({"id": id, "expires_at": expires_at}), orjson.dumps({"sha256": sha256})
    return agent(id, kind="file", body=body, private=private, **changes)


def session(id: str = SESSION, *, created: float = 0, **changes: Any) -> SessionRow:
    """An idle session that nobody owns."""
    row = SessionRow(
        id=id,
        workspace_id=WORKSPACE,
        status="idle",
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        thread_id="sthr_1",
        created_at=at(created),
        updated_at=at(created),
        body=b'{"title":null}',
        usage=b"{}",
    )
    return replace(row, **changes)


def event(
    id: str, type: str = "agent.message", *, answers: str | None = None, private: bytes | None = None
) -> EventDraft:
    head = orjson.dumps({"id": id, "type": type, "content": "é\u2028"})[:-1] + b',"processed_at":'
    return EventDraft(id, type, head, "sthr_1", answers, private)


async def write(store: Store, *written: Statement | tuple[Statement, ...], hints: tuple[str, ...] = ()) -> list[Row]:
    """Commits the statements as one batch and returns all rows that they returned."""
    flat = [part for one in written for part in (one if isinstance(one, tuple) else (one,))]
    return [row for rows in await store.commit(Batch(tuple(flat), hints=hints)) for row in rows]


async def given(store: Store, *rows: SessionRow | ObjectRow) -> None:
    """Has the store hold these rows."""
    await write(
        store,
        *(
            statements.session_insert(row) if isinstance(row, SessionRow) else statements.object_insert(row)
            for row in rows
        ),
    )


async def append(store: Store, *events: EventDraft, session_id: str = SESSION, now: float = 0) -> list[Row]:
    return await write(store, statements.append(session_id, events, now=at(now)))


async def claimed(store: Store, *, owner: str = "one", session_id: str = SESSION) -> Claim:
    """Wakes one session and claims it."""
    await write(store, statements.wake(session_id, at=at(0)))
    (claim,) = await store.queue.claim(owner, 10, now=at(0), lease_until=at(30))
    return claim


async def refused(error: type[E], attempt: Awaitable[object]) -> E:
    """The error that the attempt is refused with."""
    try:
        outcome = await attempt
    except error as refusal:
        return refusal
    raise AssertionError(f"expected {error.__name__}, but the store answered {outcome!r}")
