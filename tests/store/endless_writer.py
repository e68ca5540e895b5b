"""Writes to a store until it is killed. Prints an event's session and number once its write was acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from roost.core.clock import SystemClock
from roost.store.conformance.samples import append, event, given, session
from roost.store.sqlite import SqliteStore

SESSIONS = 8


async def write(store: SqliteStore, session_id: str) -> None:
    n = 0
    while True:
        n += 1
        await append(store, event(f"e{n}"), session_id=session_id)
        sys.stdout.write(f"{session_id} {n}\n")
        sys.stdout.flush()


async def main(folder: Path) -> None:
    store = await SqliteStore.open(folder, SystemClock())
    await given(store, *(session(f"sesn_{n}") for n in range(SESSIONS)))
    await asyncio.gather(*(write(store, f"sesn_{n}") for n in range(SESSIONS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
