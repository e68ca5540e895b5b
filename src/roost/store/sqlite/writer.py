"""The one writer: a thread that commits all waiting batches together.

One fsync serves everybody who waits for it, so durable writes get cheaper per batch as more sessions are at work
(engine.md section 5, "SQLite FULL grouped"). Each batch has a savepoint of its own: one that is fenced or conflicts is
undone alone and the others of its group are committed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apsw

from roost.store.protocols import Batch, Conflict, Fenced, Row, Statement, StoreError
from roost.store.sqlite.connection import named
from roost.store.sqlite.queries import queries

GROUP_MAX = 256
"""Batches in one commit. It bounds how long the first of a group waits for the last."""

Results = list[list[Row]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    done: asyncio.Future[Results]


class Writer:
    """Owns the writing connection. Made on the event loop that awaits `commit`.

    `publish` is called on that loop with the topics of each group, after its futures are resolved.
    """

    def __init__(self, connection: apsw.Connection, publish: Callable[[Sequence[str]], None]) -> None:
        self._connection = connection
        self._publish = publish
        self._queries = queries()
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Waiting] = []
        self._closing = False
        self._ready = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="roost-store-writer", daemon=True)
        self._thread.start()

    async def commit(self, batch: Batch) -> Results:
        """Returns once the batch is durable. A caller that stops waiting does not stop the write."""
        done: asyncio.Future[Results] = self._loop.create_future()
        with self._ready:
            if self._closing:
                raise StoreError("the store is closed")
            self._waiting.append(_Waiting(batch, done))
            self._ready.notify()
        return await done

    async def close(self) -> None:
        """Writes what is waiting, then stops. May be called twice."""
        with self._ready:
            self._closing = True
            self._ready.notify()
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    # --- on the writer's thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        while group := self._next_group():
            outcomes = self._write([waiting.batch for waiting in group])
            self._loop.call_soon_threadsafe(self._settle, group, outcomes)

    def _next_group(self) -> list[_Waiting]:
        """The batches that wait now, in the order they came; empty when the store is closing and all is written."""
        with self._ready:
            self._ready.wait_for(lambda: self._waiting or self._closing)
            group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
        return group

    def _write(self, batches: Sequence[Batch]) -> list[Results | Exception]:
        """Commits the batches together.

        When the disk refuses the group, each batch is tried by itself: a small one may still fit where a large one does
        not. Nothing that happens here may end the thread.
        """
        try:
            return self._commit(batches)
        except Exception as error:
            if len(batches) == 1:
                return [_known(error)]
            return [outcome for batch in batches for outcome in self._write([batch])]

    def _commit(self, batches: Sequence[Batch]) -> list[Results | Exception]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._attempt(batch) for batch in batches]
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return outcomes

    def _attempt(self, batch: Batch) -> Results | Exception:
        """One batch in its savepoint. An error of the disk is not the batch's own and spoils the whole group."""
        self._connection.execute("SAVEPOINT batch")
        try:
            outcome: Results | Exception = self._apply(batch)
        except (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.NoMemError):
            raise
        except Exception as error:
            self._connection.execute("ROLLBACK TO batch")
            outcome = _known(error)
        self._connection.execute("RELEASE batch")
        return outcome

    def _apply(self, batch: Batch) -> Results:
        if fence := batch.fence:
            held = {"session_id": fence.session_id, "epoch": fence.epoch}
            if not self._connection.execute(self._queries["fence"].sql, held).fetchall():
                raise Fenced(fence.session_id)
        return [self._execute(statement) for statement in batch.statements]

    def _execute(self, statement: Statement) -> list[Row]:
        query = self._queries[statement.query]
        try:
            rows = self._connection.execute(query.sql, statement.parameters).fetchall()
        except apsw.ConstraintError as error:
            raise Conflict(statement.query) from error
        touched = len(rows) if query.returns else self._connection.changes()
        if statement.rows is not None and touched != statement.rows:
            raise Conflict(statement.query)
        return rows

    # --- back on the event loop -----------------------------------------------------------------------------------

    def _settle(self, group: Sequence[_Waiting], outcomes: Sequence[Results | Exception]) -> None:
        topics: dict[str, None] = {}
        for waiting, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                if not waiting.done.done():
                    waiting.done.set_exception(outcome)
                continue
            topics.update(dict.fromkeys(waiting.batch.hints))
            if not waiting.done.done():
                waiting.done.set_result(outcome)
        self._publish(tuple(topics))


def _known(error: Exception) -> Exception:
    return named(error) if isinstance(error, apsw.Error) else error
