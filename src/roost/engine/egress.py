"""What leaves the sandboxes, written down: the proxy reports, batches reach the store behind it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from roost.core.clock import Clock, timestamp
from roost.store.passages import EgressRow
from roost.store.protocols import Batch, Store, StoreError
from roost.store.statements import egress_append
from roost.wire.egress import Decision

log = logging.getLogger(__name__)

EVERY_S = 1.0
WAITING_MAX = 10_000
"""How many entries wait for the next batch; past that new ones are lost, and the log of the server says how many."""
BATCH_ROWS = 1_000
HOST_CHARS_MAX = 253
REASON_CHARS_MAX = 500


class Passage(Protocol):
    """What is read of the proxy's; `roost.proxy.exchange.Passage` is one."""

    method: str
    host: str
    port: int
    decision: Decision
    reason: str
    sent_bytes: int
    received_bytes: int
    duration_s: float


class EgressRecorder:
    """Takes every passage at once and never waits; writes at most one batch in `EVERY_S`, the rest when it stops.

    What a crash of the server cuts off is at most the last second. May be stopped twice, and before it was started.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[EgressRow] = deque()
        self._lost = 0
        self._some = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def record(self, session_id: str, passage: Passage) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._lost += 1
            return
        self._waiting.append(
            EgressRow(
                session_id,
                timestamp(self._clock.now()),
                passage.method[:HOST_CHARS_MAX],
                passage.host[:HOST_CHARS_MAX],
                passage.port,
                passage.decision,
                passage.reason[:REASON_CHARS_MAX],
                passage.sent_bytes,
                passage.received_bytes,
                round(passage.duration_s * 1_000),
            )
        )
        self._some.set()

    async def start(self) -> None:
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        while self._waiting:
            await self.flush()

    async def flush(self) -> None:
        """Writes one batch of what waits. One that cannot be written is lost, and said so: the proxy goes on."""
        rows = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_ROWS))]
        if self._lost:
            log.warning("the egress log lost %d entries: more came than could be written", self._lost)
            self._lost = 0
        try:
            await self._store.commit(Batch(egress_append(rows)))
        except StoreError as error:
            log.warning("the egress log lost %d entries: %s", len(rows), error)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            await self.flush()
            if self._waiting:
                self._some.set()
            await asyncio.sleep(EVERY_S)
