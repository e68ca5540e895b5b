"""Hints and previews inside one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PAYLOADS_MAX = 1024
"""Payloads that wait for one reader; a slower one loses the oldest."""


class LocalSubscription:
    """`roost.store.protocols.Subscription`: one flag for any number of hints, and a bounded queue of payloads."""

    def __init__(self) -> None:
        self._hinted = asyncio.Event()
        self._payloads: deque[bytes] = deque(maxlen=PAYLOADS_MAX)

    def hint(self, payload: bytes) -> None:
        if payload:
            self._payloads.append(payload)
        self._hinted.set()

    async def wait(self, timeout_s: float | None = None) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._hinted.wait()
        except TimeoutError:
            return False
        self._hinted.clear()
        return True

    def take(self) -> list[bytes]:
        payloads = list(self._payloads)
        self._payloads.clear()
        return payloads


class LocalBus:
    """`roost.store.protocols.Bus` for one process: to be used on its event loop only."""

    def __init__(self) -> None:
        self._readers: dict[str, set[LocalSubscription]] = {}

    def publish(self, topic: str, payload: bytes = b"") -> None:
        for reader in self._readers.get(topic, ()):
            reader.hint(payload)

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncIterator[LocalSubscription]:
        subscription = LocalSubscription()
        for topic in topics:
            self._readers.setdefault(topic, set()).add(subscription)
        try:
            yield subscription
        finally:
            for topic in topics:
                self._leave(topic, subscription)

    def listened(self, topic: str) -> bool:
        return topic in self._readers

    def _leave(self, topic: str, subscription: LocalSubscription) -> None:
        readers = self._readers.get(topic, set())
        readers.discard(subscription)
        if not readers:
            self._readers.pop(topic, None)
