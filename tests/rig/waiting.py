"""Waiting, with a bound, for what sets no event: files that something in a sandbox writes, a server that is polled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

WAIT_S = 20.0


async def until(holds: Callable[[], Awaitable[bool] | bool], what: str) -> None:
    """Looks again and again, giving way in between. Raises AssertionError after `WAIT_S`."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                held = holds()
                if await held if isinstance(held, Awaitable) else held:
                    return
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"waited {WAIT_S} s for {what}") from None


async def lines(path: Path, count: int = 0) -> list[str]:
    """The lines of a file, once it is there and has so many."""
    found: list[str] = []

    def enough() -> bool:
        if path.exists():
            found[:] = path.read_text().splitlines()
        return path.exists() and len(found) >= count

    await until(enough, f"{count} lines in {path.name}")
    return found
