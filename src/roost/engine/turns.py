"""Claims sessions that want a brain, runs them side by side, and keeps their leases alive.

Nobody hands work to anybody here. A session whose `wake_at` has come is taken by whoever asks first, under a lease and
a new epoch; a hint says when to look, and a slow poll looks anyway (engine.md section 1, rule a). A process that dies
leaves leases behind: they run out, or the next process of an embedded server, which knows it is alone, drops them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from roost.core.clock import Clock, later, parse_timestamp, timestamp
from roost.core.ids import new_id
from roost.core.settings import Settings
from roost.harness.brain import Brain
from roost.store.protocols import WAKE_TOPIC, Claim, Store, StoreFull

log = logging.getLogger(__name__)

_FULL_PAUSE_S = 5.0
"""How long a turn waits when the disk is full before it tries to write again."""


class Turns:
    """The running turns of this process. Started once, stopped once; stopping twice does no harm."""

    def __init__(self, store: Store, brain: Brain, clock: Clock, settings: Settings) -> None:
        self.owner = new_id("wrkr")
        self._store = store
        self._brain = brain
        self._clock = clock
        self._settings = settings
        self._running: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._freed = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Takes over what an earlier process left, then begins to claim."""
        dropped = await self._store.queue.reap(now=self._now(), alive=[self.owner])
        if dropped:
            log.info("took over %d session(s) of a process that is gone", dropped)
        self._loops = [asyncio.create_task(_forever(loop)) for loop in (self._claim_loop, self._renew_loop)]

    async def stop(self) -> None:
        """Stops claiming and ends the turns where they are: the log says how they go on."""
        tasks = [*self._loops, *(task for _, task in self._running.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loops = []
        await self._store.queue.reap(now=self._now(), alive=[])

    @property
    def count(self) -> int:
        """Turns running in this process now."""
        return len(self._running)

    async def settle(self, timeout_s: float) -> None:
        """Waits until no turn runs, at most so long."""
        tasks = [task for _, task in self._running.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def _claim_loop(self) -> None:
        async with self._store.bus.subscribe(WAKE_TOPIC) as hints:
            while True:
                free = self._settings.turns_max - len(self._running)
                claims = await self._claim(free) if free else []
                for claim in claims:
                    self._run(claim)
                if not claims:
                    await self._wait(hints.wait, free)

    async def _claim(self, limit: int) -> list[Claim]:
        now = self._clock.now()
        lease_until = timestamp(later(now, self._settings.lease_ttl_s))
        return await self._store.queue.claim(self.owner, limit, now=timestamp(now), lease_until=lease_until)

    async def _wait(self, hint: Callable[[float], Coroutine[Any, Any, bool]], free: int) -> None:
        """Until a hint, the next timer, or the slow poll; when there is no room, until a turn ends."""
        if not free:
            self._freed.clear()
            await self._freed.wait()
            return
        pause_s = self._settings.poll_s
        due = await self._store.queue.next_wake()
        if due is not None:
            pause_s = min(pause_s, max(0.0, (parse_timestamp(due) - self._clock.now()).total_seconds()))
        await hint(pause_s)

    def _run(self, claim: Claim) -> None:
        task = asyncio.create_task(self._turn(claim))
        self._running[claim.session_id] = (claim, task)
        task.add_done_callback(lambda _: self._ended(claim))

    def _ended(self, claim: Claim) -> None:
        current = self._running.get(claim.session_id)
        if current and current[0].epoch == claim.epoch:
            del self._running[claim.session_id]
        self._freed.set()

    async def _turn(self, claim: Claim) -> None:
        """One claim, to its end. A full disk is waited out under the same lease."""
        while True:
            try:
                return await self._brain.run(claim)
            except StoreFull:
                log.error("the disk is full: session %s waits %.0f s", claim.session_id, _FULL_PAUSE_S)
                await asyncio.sleep(_FULL_PAUSE_S)
            except Exception:
                # The lease runs out and the session is claimed again; the turn's own fault handling has failed.
                log.exception("session %s could not be brought to rest", claim.session_id)
                return None

    # --- leases ------------------------------------------------------------------------------------------------------

    async def _renew_loop(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_renew_s)
            claims = [claim for claim, _ in self._running.values()]
            lease_until = timestamp(later(self._clock.now(), self._settings.lease_ttl_s))
            for session_id in await self._store.queue.renew(self.owner, claims, lease_until=lease_until):
                lost = self._running.get(session_id)
                if lost:
                    lost[1].cancel()
            await self._store.queue.reap(now=self._now(), alive=[self.owner])

    def _now(self) -> str:
        return timestamp(self._clock.now())


async def _forever(loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a loop again after a fault, a second later: a background service never ends silently."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a background loop failed and starts again")
            await asyncio.sleep(1.0)
