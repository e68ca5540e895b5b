"""`python -m tests.crash.launcher [--kill-at N] [--moment before|after] [--mutant NAME] DATA`: a server that dies.

It is `roost serve`, with one thing put around the store: the process kills itself with SIGKILL directly before or after
the Nth commit in the life of a session. The file DATA/../commits gets a line with the session's id for each commit, so
that a run without a kill tells how many there are. A mutant takes a safety away, to show that the checks would notice.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from roost.cli import main as roost
from roost.sandbox.fleet import Fleet
from roost.store.protocols import Batch, Row
from roost.store.sqlite import SqliteStore

LIFE = {"event_insert", "input_insert"}
"""Statements by which a commit belongs to a session's life, besides any commit of a brain."""


def kill_at(number: int, moment: str, notes: Path) -> None:
    """Has the process die at the Nth commit of a session that it made itself; 0 lets it live."""
    commit = SqliteStore.commit
    counts: Counter[str] = Counter()
    born: set[str] = set()

    async def counted(store: SqliteStore, batch: Batch) -> list[list[Row]]:
        born.update(found.parameters["id"] for found in batch.statements if found.query == "session_insert")
        session_id = _lives(batch)
        counts[session_id] += 1
        due = session_id in born and counts[session_id] == number
        with notes.open("a") as file:
            file.write(f"{session_id}\n")
        if due and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rows = await commit(store, batch)
        if due and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    _put(SqliteStore, "commit", counted)


def _lives(batch: Batch) -> str:
    """The session whose life the commit is a part of, or nothing."""
    if batch.fence:
        return batch.fence.session_id
    return next((found.parameters["session_id"] for found in batch.statements if found.query in LIFE), "")


def forget_calls() -> None:
    """A ledger that does not know call ids: every execution is a new one."""
    execute = Fleet.execute

    async def fresh(fleet: Fleet, spec: Any, *, call_id: str, **rest: Any) -> Any:
        return await execute(fleet, spec, call_id=call_id + secrets.token_hex(4), **rest)

    async def unknown(*_: object, **__: object) -> str:
        return "unknown"

    _put(Fleet, "execute", fresh)
    _put(Fleet, "lookup", unknown)


def _put(owner: type, name: str, replacement: object) -> None:
    setattr(owner, name, replacement)


MUTANTS: dict[str, Callable[[], None]] = {"forget-calls": forget_calls}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--moment", choices=["before", "after"], default="before")
    parser.add_argument("--mutant", choices=MUTANTS)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    kill_at(options.kill_at, options.moment, options.data.parent / "commits")
    if options.mutant:
        MUTANTS[options.mutant]()
    roost(["serve", "--port", "0", "--data", str(options.data), "--until-eof"])


if __name__ == "__main__":
    main()
