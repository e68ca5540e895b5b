"""Reads of committed state, on connections of their own: in WAL mode readers and the writer do not wait for each other.

A read whose cost is bounded by the few rows it asks for runs on the event loop: a session's row takes about 10 us and a
page of 20 events 60 us there, where a hop to a thread and back takes 160 us by itself (benchmarks/store_append.py).
A read that may scan or return thousands of rows goes to the reader's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from roost.store.protocols import Row
from roost.store.sqlite.connection import connect
from roost.store.sqlite.queries import queries

NEAR_ROWS = 100
"""The most rows that a read on the event loop may ask for."""

T = TypeVar("T")


class Rows:
    """Runs named queries on one connection, for one thread at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._sql = {name: query.sql for name, query in queries().items()}

    def all(self, query: str, **parameters: Any) -> list[Row]:
        return self._connection.execute(self._sql[query], parameters).fetchall()

    def first(self, query: str, **parameters: Any) -> Row | None:
        rows = self.all(query, **parameters)
        return rows[0] if rows else None

    def close(self) -> None:
        self._connection.close()


class Reader:
    """`near` reads on the event loop, `far` off it."""

    def __init__(self, path: Path) -> None:
        self.near = Rows(connect(path, read_only=True))
        self._far = Rows(connect(path, read_only=True))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="roost-store-reader")

    async def far(self, work: Callable[[Rows], T]) -> T:
        """Does the work on the reader's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._far)

    async def close(self) -> None:
        await asyncio.to_thread(self._thread.shutdown)
        self._far.close()
        self.near.close()
