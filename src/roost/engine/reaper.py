"""Removes sandboxes that no session owns any more: a deleted session's, or one left by a server that is gone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from roost.engine.rounds import Rounds
from roost.store.protocols import REAP_TOPIC, Store

log = logging.getLogger(__name__)


class Sandboxes(Protocol):
    """What the reaper needs of the hands."""

    async def living(self) -> Sequence[str]:
        """The sessions that have a sandbox, or files of one, on this host."""
        ...

    async def forget(self, session_id: str) -> None:
        """Ends the session's sandbox and removes its files."""
        ...


class Reaper:
    """Looks at start, whenever a session was deleted, every `every_s` seconds, and once more when it stops."""

    def __init__(self, store: Store, sandboxes: Sandboxes, *, every_s: float) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._every_s = every_s
        self._rounds = Rounds("looking for sandboxes without a session", self.reap, store.bus, REAP_TOPIC)

    async def start(self) -> None:
        self._rounds.start(self._every_s)

    async def stop(self) -> None:
        await self._rounds.stop()
        await self._rounds.look()

    async def reap(self) -> list[str]:
        """One look; returns the sessions whose sandboxes were removed."""
        # Sandboxes are listed first: one that starts after this line belongs to a session that is seen below.
        living = await self._sandboxes.living()
        owned = await self._store.sessions.ids() if living else set()
        orphans = [session_id for session_id in living if session_id not in owned]
        for session_id in orphans:
            await self._sandboxes.forget(session_id)
            log.info("removed the sandbox of %s, which is no session any more", session_id)
        return orphans
