"""The data folder: one process, one owner, a schema that is known; what was written is there after reopening."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from roost.core.clock import SystemClock
from roost.store.conformance.samples import SESSION, append, event, given, session
from roost.store.migrations import Migration, migrations
from roost.store.protocols import Batch, StoreError
from roost.store.sqlite import FolderInUse, SchemaTooNew, SqliteStore
from roost.store.sqlite.connection import connect
from roost.store.sqlite.schema import migrate, schema_version

HOLD = """
import sys; from pathlib import Path; from roost.store.folder import FolderLock
lock = FolderLock(Path(sys.argv[1])); print("held", flush=True); sys.stdin.read()
"""


async def opened(folder: Path) -> SqliteStore:
    return await SqliteStore.open(folder, SystemClock())


def schema(connection: apsw.Connection) -> dict[str, str]:
    """What was made, by name, without the layout of its text, which a column that was added later leaves ragged."""
    made = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {
        str(name): re.sub(r"\s+(?=[,)])", "", " ".join(str(sql).split()))
        for name, sql in made
        if name != "schema_version"
    }


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await given(store, session())
    await append(store, event("e1"))
    before = await store.log.read(SESSION)
    await store.close()
    again = await opened(tmp_path)
    assert await again.log.read(SESSION) == before
    assert len(before) == 1
    await again.close()


async def test_a_store_may_be_closed_twice_and_then_takes_nothing_more(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.commit(Batch())


async def test_what_waits_at_closing_is_written(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await given(store, session())
    writes = [asyncio.create_task(append(store, event(f"e{n}"))) for n in range(50)]
    closing = asyncio.create_task(store.close())
    assert sorted(row for rows in await asyncio.gather(*writes) for row in rows)[-1][0] == 50
    await closing


async def test_a_second_process_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUse, match=f"pid {holder.pid}"):
            await opened(tmp_path)
        holder.kill()
    store = await opened(tmp_path)
    await store.close()


async def test_one_process_cannot_open_a_folder_twice(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    with pytest.raises(FolderInUse, match=f"pid {os.getpid()}"):
        await opened(tmp_path)
    await store.close()


async def test_nobody_but_the_owner_can_read_the_folder_or_a_file_in_it(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = await opened(tmp_path / "new" / "data")
        await given(store, session())
    finally:
        os.umask(umask)
    paths = [tmp_path / "new" / "data", *(tmp_path / "new" / "data").rglob("*")]
    assert {"roost.db", "roost.db-wal", "roost.db-shm", "roost.lock", "blobs"} <= {path.name for path in paths}
    assert [path for path in paths if path.stat().st_mode & 0o077] == []
    await store.close()


async def test_a_folder_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await (await opened(tmp_path)).close()
    connection = connect(tmp_path / "roost.db")
    connection.execute("INSERT INTO schema_version VALUES (99, '0099_later.sql', '')")
    connection.close()
    for _ in range(2):
        with pytest.raises(SchemaTooNew, match=r"later version of Roost \(schema 99"):
            await opened(tmp_path)


async def test_a_file_that_is_no_database_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "roost.db").write_bytes(b"something else altogether\n" * 100)
    with pytest.raises(StoreError, match=r"roost\.db"):
        await opened(tmp_path)
    assert (tmp_path / "roost.db").read_bytes().startswith(b"something else")


def test_the_migrations_add_up_to_the_schema() -> None:
    migrated, written = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    migrate(migrated, SystemClock())
    written.execute((Path(sys.modules[SqliteStore.__module__].__file__ or "").parent / "schema.sql").read_text())
    assert schema(migrated) == schema(written)
    assert len(schema(migrated)) > 15


def test_a_step_that_fails_leaves_the_file_as_it_was() -> None:
    connection = apsw.Connection(":memory:")
    first, broken = Migration(1, "a", "CREATE TABLE a (x)"), Migration(2, "b", "CREATE TABLE b (x); CREATE TABLE a (x)")
    with pytest.raises(apsw.SQLError):
        migrate(connection, SystemClock(), [first, broken])
    assert schema(connection) == {}
    migrate(connection, SystemClock(), [first])
    assert schema_version(connection) == 1
    migrate(connection, SystemClock(), [first, Migration(2, "b", "CREATE TABLE b (x)")])
    assert set(schema(connection)) == {"a", "b"}


def test_steps_are_numbered_without_gaps() -> None:
    assert [step.version for step in migrations("sqlite")] == list(range(1, len(migrations("sqlite")) + 1))
