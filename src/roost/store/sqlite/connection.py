"""Connections to the database file, and the names of what the engine says went wrong."""

from __future__ import annotations

from pathlib import Path

import apsw

from roost.store.protocols import StoreError, StoreFull

BUSY_MS = 5_000
CACHE_KIB = 8_192
WAL_LEFT_BYTES = 64 << 20


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """A connection to an existing database file.

    WAL with `synchronous=FULL`: an acknowledged commit outlives a power cut (engine.md section 1, "FULL, not NORMAL").
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=200)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LEFT_BYTES}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def named(error: apsw.Error, what: str = "the database") -> StoreError:
    """The store's name for an error of the engine."""
    if isinstance(error, apsw.FullError):
        return StoreFull(f"{what}: the disk is full")
    return StoreError(f"{what}: {error}")
