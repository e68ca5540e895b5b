"""What a durable append costs through the store, as a ratio to plain apsw on the same disk in the same run.

    python benchmarks/store_append.py [ROUNDS]

The floor commits and syncs one event at a time, fenced as the store's are. The store commits all waiting batches
together, so one session pays for the way to the writer's thread and back, and many share a sync. Read the ratios: the
absolute numbers are the machine's. Also measured: replay of a log of 10,000 events against the same SELECT by plain
apsw, and one look-up and one page on the event loop against a hop to a thread (why `reader.py` has near and far reads).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from roost.core.clock import SystemClock, timestamp
from roost.store import statements
from roost.store.protocols import Batch, Claim, EventDraft, SessionRow
from roost.store.sqlite import SqliteStore

EVENTS = 4_000
REPLAYED = 10_000
REPLAYS = 9
LOOK_UPS = 500
HEAD = b'{"id":"sevt_01","type":"agent.message","content":"' + b"x" * 1_000 + b'","processed_at":'
NOW = timestamp(SystemClock().now())
FLOOR_TABLES = (
    "CREATE TABLE sessions (id TEXT PRIMARY KEY, last_seq INTEGER, epoch INTEGER)",
    "CREATE TABLE events (session_id TEXT, seq INTEGER, id TEXT, data BLOB, PRIMARY KEY (session_id, seq))",
)


def session_id(number: int) -> str:
    return f"sesn_{number:024}"


def row(number: int) -> SessionRow:
    return SessionRow(session_id(number), "w", "idle", "a", 1, "e", "t", NOW, NOW, b"{}" * 500, b"{}")


class Floor:
    """The same appends by plain apsw: an UPDATE, an INSERT and a synced commit each."""

    def __init__(self, folder: Path, sessions: int) -> None:
        self._sessions = sessions
        self._connection = apsw.Connection(str(folder / "floor.db"))
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        for table in FLOOR_TABLES:
            self._connection.execute(table)
        for number in range(sessions):
            self._connection.execute("INSERT INTO sessions VALUES (?, 0, 1)", (session_id(number),))

    def append(self, events: int) -> None:
        for n in range(events):
            id = session_id(n % self._sessions)  # noqa: A001
            with self._connection:
                self._connection.execute(
                    "UPDATE sessions SET last_seq = last_seq + 1 WHERE id = ? AND epoch = 1", (id,)
                )
                self._connection.execute(
                    "INSERT INTO events SELECT id, last_seq, ?, ? FROM sessions WHERE id = ?", (f"e{n}", HEAD, id)
                )

    def replay(self) -> None:
        log = "SELECT seq, id, data FROM events WHERE session_id = ? ORDER BY seq"
        self._connection.execute(log, (session_id(0),)).fetchall()

    def close(self) -> None:
        self._connection.close()


async def owned(store: SqliteStore, sessions: int) -> list[Claim]:
    rows = [row(number) for number in range(sessions)]
    inserts = [statements.session_insert(one) for one in rows]
    await store.commit(Batch((*inserts, *(statements.wake(one.id, at=NOW) for one in rows))))
    return await store.queue.claim("bench", sessions, now=NOW, lease_until=NOW)


async def brain(store: SqliteStore, claim: Claim, events: int) -> None:
    """One session's appends, each awaited before the next, as a turn does."""
    for n in range(events):
        draft = EventDraft(f"e{n}", "agent.message", HEAD)
        await store.commit(statements.fenced(claim, *statements.append(claim.session_id, [draft], now=NOW)))


async def seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


async def append_ratio(folder: Path, sessions: int) -> tuple[float, float, float]:
    """Events a second by the store, by the floor, and the one over the other."""
    store = await SqliteStore.open(folder / "data", SystemClock())
    claims = await owned(store, sessions)
    each = EVENTS // sessions
    by_store = sessions * each / await seconds(asyncio.gather(*(brain(store, claim, each) for claim in claims)))
    await store.close()
    floor = Floor(folder, sessions)
    by_floor = EVENTS / timed(lambda: floor.append(EVENTS))
    floor.close()
    return by_store, by_floor, by_store / by_floor


async def reads(folder: Path) -> dict[str, float]:
    """Milliseconds of a replay by the store and by plain apsw; microseconds of small reads."""
    store = await SqliteStore.open(folder / "data", SystemClock())
    (claim,) = await owned(store, 1)
    drafts = [EventDraft(f"e{n}", "agent.message", HEAD) for n in range(REPLAYED)]
    await store.commit(Batch(statements.append(claim.session_id, drafts, now=NOW)))
    floor = Floor(folder, 1)
    floor.append(REPLAYED)
    log, id = store.log, claim.session_id  # noqa: A001

    async def repeat(work: Callable[[], Awaitable[object]]) -> float:
        async def rounds() -> None:
            for _ in range(LOOK_UPS):
                await work()

        return await seconds(rounds()) / LOOK_UPS * 1e6

    replays = [(await seconds(log.read(id)), timed(floor.replay)) for _ in range(REPLAYS)]
    by_store, by_floor = (statistics.median(column) * 1e3 for column in zip(*replays, strict=True))
    found = {
        "replay of 10,000 events, ms": by_store,
        "same by plain apsw, ms": by_floor,
        "replay, ratio": by_store / by_floor,
        "session row, on the loop, us": await repeat(lambda: store.sessions.load(id)),
        "page of 20 events, on the loop, us": await repeat(lambda: log.read(id, after=5_000, limit=20)),
        "page of 100 events, on the loop, us": await repeat(lambda: log.read(id, after=5_000, limit=100)),
        "hop to a thread and back, us": await repeat(lambda: asyncio.to_thread(time.perf_counter)),
    }
    floor.close()
    await store.close()
    return found


def main(rounds: int) -> None:
    for sessions in (1, 16, 200):
        results = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                results.append(asyncio.run(append_ratio(Path(folder), sessions)))
        by_store, by_floor, ratio = (statistics.median(column) for column in zip(*results, strict=True))
        print(f"append, {sessions:3} sessions: {by_store:7,.0f} events/s, plain {by_floor:6,.0f}, ratio {ratio:.2f}")
    taken = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            taken.append(asyncio.run(reads(Path(folder))))
    for name in taken[0]:
        print(f"{name}: {statistics.median(one[name] for one in taken):.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
