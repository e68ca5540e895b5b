"""Fills the small disk that a store lies on, then makes space again; prints what the store answered on the way."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from roost.core.clock import SystemClock
from roost.store.conformance.samples import SESSION, append, event, given, session
from roost.store.protocols import EventDraft, StoreError
from roost.store.sqlite import SqliteStore

BALLAST_BYTES = 3 << 20


def large(id: str, size: int) -> EventDraft:
    return EventDraft(id, "agent.message", b'{"x":"' + b"x" * size + b'","processed_at":')


async def outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except StoreError as error:
        return type(error).__name__
    return "written"


async def content() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield os.urandom(100_000)


async def fill(store: SqliteStore) -> int:
    """Appends until the disk takes no more; returns how many events it took."""
    written = 0
    while await outcome(append(store, large(f"fill{written}", 10_000))) == "written":
        written += 1
    return written


async def main(folder: Path) -> dict[str, Any]:
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(BALLAST_BYTES))
    store = await SqliteStore.open(folder / "data", SystemClock())
    await given(store, session())
    seen: dict[str, Any] = {}
    seen["small beside it"], seen["large"], seen["small at the same time"] = await asyncio.gather(
        outcome(append(store, event("small1"))),
        outcome(append(store, large("large", 8 << 20))),
        outcome(append(store, event("small2"))),
    )
    seen["until full"] = await fill(store)
    seen["when full"] = [await outcome(append(store, large(f"more{n}", 10_000))) for n in range(2)]
    seen["blob when full"] = await outcome(store.blobs.put(content(), limit_bytes=1 << 20))
    seen["left in the folder of blobs"] = [
        str(path) for path in (folder / "data" / "blobs").rglob("*") if path.is_file()
    ]
    seen["acknowledged"] = ["small1", "small2", *(f"fill{n}" for n in range(seen["until full"]))]
    seen["reads when full"] = [stored.id for stored in await store.log.read(SESSION)]
    ballast.unlink()
    seen["with space again"] = await outcome(append(store, large("again", 10_000)))
    seen["blob with space again"] = await outcome(store.blobs.put(content(), limit_bytes=1 << 20))
    await store.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))  # noqa: T201
