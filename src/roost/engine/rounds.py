"""A look that is taken again and again in the background: the shape that the engine's housekeeping shares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from roost.store.protocols import Bus

log = logging.getLogger(__name__)


class Rounds:
    """Looks at start, whenever one of the topics is hinted at, and otherwise at a pace.

    A look that fails is logged, and the next one does the rest. May be stopped twice, and before it was started.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[object]], bus: Bus, *topics: str) -> None:
        self._name = name
        self._look = look
        self._bus = bus
        self._topics = topics
        self._loop: asyncio.Task[None] | None = None

    def start(self, every_s: float) -> None:
        self._loop = asyncio.create_task(self._run(every_s))

    async def stop(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def look(self) -> None:
        """One look, which never raises."""
        try:
            await self._look()
        except Exception:
            log.exception("%s failed; the next round tries again", self._name)

    async def _run(self, every_s: float) -> None:
        async with self._bus.subscribe(*self._topics) as hints:
            while True:
                await self.look()
                await hints.wait(every_s)
