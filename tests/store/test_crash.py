"""What was acknowledged is there, whatever happened to the process, the power or the space on the disk."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import apsw
import pytest

from roost.core.clock import SystemClock
from roost.store.conformance.samples import SESSION, append, given, session
from roost.store.protocols import EventDraft
from roost.store.sqlite import SqliteStore
from tests.store.disk import Disk, Survives

HERE = Path(__file__).parent
BIG = b'{"x":"' + b"x" * 30_000 + b'","processed_at":'


async def lengths(folder: Path, *session_ids: str) -> dict[str, int]:
    """How many events each log holds, checked to be the first ones that were written, without gap or double."""
    store = await SqliteStore.open(folder, SystemClock())
    try:
        found = {}
        for session_id in session_ids:
            log = await store.log.read(session_id)
            assert [(stored.seq, stored.id) for stored in log] == [(n, f"e{n}") for n in range(1, len(log) + 1)]
            row = await store.sessions.load(session_id)
            assert (row.last_seq if row else 0) == len(log)
            found[session_id] = len(log)
        return found
    finally:
        await store.close()


@pytest.mark.parametrize("lines", [1, 100, 1000])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, lines: int) -> None:
    with subprocess.Popen(
        [sys.executable, str(HERE / "endless_writer.py"), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        seen = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        seen += [line for line in writer.stdout if line.endswith("\n")]
    acknowledged = Counter(line.split()[0] for line in seen)
    found = asyncio.run(lengths(tmp_path, *acknowledged))
    assert acknowledged.total() >= lines
    assert acknowledged <= Counter(found), "every acknowledged event is found"


def nothing() -> bool:
    return False


@pytest.mark.parametrize("survives", [nothing, lambda: random.random() < 0.5], ids=["nothing", "some of it"])
async def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, survives: Survives) -> None:
    """Cuts fall after acknowledgements, during commits and across checkpoints of the write-ahead log."""
    random.seed(1)
    cuts: list[tuple[Path, int]] = []
    acknowledged = 0
    with Disk() as disk:
        store = await SqliteStore.open(tmp_path / "data", SystemClock())
        await given(store, session())

        async def write(n: int) -> None:
            nonlocal acknowledged
            await append(store, EventDraft(f"e{n}", "agent.message", BIG))
            acknowledged += 1
            if n % 15 == 0:
                cuts.append((disk.cut(tmp_path / f"cut{n}", survives), acknowledged))

        for first in range(1, 240, 3):
            await asyncio.gather(*(write(n) for n in range(first, first + 3)))
        await store.close()
        checkpointed = len(disk.platters["roost.db"].durable)
    assert checkpointed > 4 << 20, "the log was copied into the database at least once"
    for folder, count in cuts:
        assert (await lengths(folder, SESSION))[SESSION] >= count
    assert len(cuts) == 16


def test_the_simulated_power_cut_does_lose_what_was_not_synced(tmp_path: Path) -> None:
    with Disk() as disk:
        connection = apsw.Connection(str(tmp_path / "a.db"))
        for sql in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", "CREATE TABLE t (n)"):
            connection.execute(sql).fetchall()
        for n in range(50):
            connection.execute("INSERT INTO t VALUES (?)", (n,))
        folder = disk.cut(tmp_path / "cut")
        connection.close()
    after = apsw.Connection(str(folder / "a.db"))
    assert not after.execute("SELECT * FROM sqlite_schema").fetchall(), "even the table is gone"
    after.close()


@pytest.mark.sandbox
def test_a_full_disk_refuses_what_does_not_fit_and_goes_on_once_there_is_space(tmp_path: Path) -> None:
    """On a real file system of a few megabytes, in a mount namespace of its own."""
    mount = f"mount -t tmpfs -o size=6m tmpfs {tmp_path} && exec {sys.executable} {HERE / 'fill_disk.py'} {tmp_path}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["large"] == "StoreFull"
    assert seen["small beside it"] == seen["small at the same time"] == "written"
    assert seen["until full"] > 0
    assert seen["when full"] == ["StoreFull", "StoreFull"]
    assert seen["blob when full"] == "StoreFull"
    assert seen["left in the folder of blobs"] == []
    assert seen["reads when full"] == seen["acknowledged"]
    assert seen["with space again"] == "written"
    assert seen["blob with space again"] == "written"
