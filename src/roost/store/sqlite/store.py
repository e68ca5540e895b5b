"""The embedded store: one SQLite file and a folder of blobs, used by one process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import apsw

from roost.core.clock import Clock
from roost.store.blobs import FolderBlobs
from roost.store.bus import LocalBus
from roost.store.folder import FILE_MODE, FolderLock, make_data_folder, sync_folder
from roost.store.protocols import Batch, Row
from roost.store.sqlite.connection import connect, named
from roost.store.sqlite.egress import SqliteEgressLog
from roost.store.sqlite.keys import SqliteKeys
from roost.store.sqlite.log import SqliteLog
from roost.store.sqlite.objects import SqliteObjects
from roost.store.sqlite.queue import SqliteQueue
from roost.store.sqlite.reader import Reader
from roost.store.sqlite.schema import migrate
from roost.store.sqlite.sessions import SqliteSessions
from roost.store.sqlite.work import SqliteWork
from roost.store.sqlite.writer import Writer


class SqliteStore:
    """`roost.store.protocols.Store` on one folder: `roost.db`, `roost.lock` and `blobs/`. Made by `open`."""

    def __init__(self, lock: FolderLock, connection: apsw.Connection, reader: Reader, blobs: FolderBlobs) -> None:
        self._lock = lock
        self._reader = reader
        self._writer = Writer(connection, self._publish)
        self.bus = LocalBus()
        self.blobs = blobs
        self.objects = SqliteObjects(reader)
        self.sessions = SqliteSessions(reader)
        self.log = SqliteLog(reader)
        self.queue = SqliteQueue(reader, self._writer)
        self.keys = SqliteKeys(reader)
        self.egress = SqliteEgressLog(reader)
        self.work = SqliteWork(reader)

    @classmethod
    async def open(cls, folder: Path, clock: Clock) -> SqliteStore:
        """Opens the folder, making it when it is not there, and brings its schema up to date.

        To be called on the event loop that will use the store. Raises FolderInUse while another process has the folder
        open, SchemaTooNew when a later version wrote it, StoreFull, and StoreError for a file that is no database.
        """
        return cls(*await asyncio.to_thread(_open, folder, clock))

    async def commit(self, batch: Batch) -> list[list[Row]]:
        return await self._writer.commit(batch)

    async def close(self) -> None:
        """Writes what is waiting, then lets go of the folder. May be called twice."""
        await self._writer.close()
        await self._reader.close()
        self._lock.release()

    def _publish(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self.bus.publish(topic)


def _open(folder: Path, clock: Clock) -> tuple[FolderLock, apsw.Connection, Reader, FolderBlobs]:
    make_data_folder(folder)
    with ExitStack() as undo:
        lock = FolderLock(folder)
        undo.callback(lock.release)
        path = _database_file(folder)
        try:
            connection = connect(path)
            undo.callback(connection.close)
            migrate(connection, clock)
            reader = Reader(path)
        except apsw.Error as error:
            raise named(error, str(path)) from error
        blobs = FolderBlobs(folder / "blobs", clock)
        undo.pop_all()
    return lock, connection, reader, blobs


def _database_file(folder: Path) -> Path:
    """Made here so that nobody else can read it; SQLite gives its other files the mode of this one."""
    path = folder / "roost.db"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
    sync_folder(folder)
    return path
