"""Removes what time or nobody wants any more: files long past their `expires_at`, and content nobody refers to."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from roost.core.clock import Clock, timestamp
from roost.engine.rounds import Rounds
from roost.store.protocols import Batch, Store
from roost.store.statements import object_delete

log = logging.getLogger(__name__)

EVERY_S = 3_600.0
GRACE = timedelta(hours=1)
"""How long content is left alone after it was stored, or after its file expired.

Nothing may take longer between storing bytes and committing the record that refers to them.
"""
RECORD_KEPT = timedelta(days=30)
"""How long an expired file's metadata can still be read (behaviour/01 section 1.5)."""
RECORDS_AT_ONCE = 500


class Sweeper:
    """Looks at start and then every hour. Whatever ends a look in the middle, the next one does the rest."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._rounds = Rounds("looking for files and content to remove", self.sweep, store.bus)

    async def start(self) -> None:
        self._rounds.start(EVERY_S)

    async def stop(self) -> None:
        await self._rounds.stop()

    async def sweep(self) -> None:
        """One look."""
        now = self._clock.now()
        files = await self._remove_records(timestamp(now - RECORD_KEPT))
        pieces = await self._remove_content(timestamp(now - GRACE))
        if files or pieces:
            log.info("removed %d file(s) past their time and %d piece(s) of content", files, pieces)

    async def _remove_records(self, expired_by: str) -> int:
        count = 0
        while rows := await self._store.objects.expired(by=expired_by, limit=RECORDS_AT_ONCE):
            # A user may delete one of them at the same moment: then it is gone, which is all that is asked here.
            gone = (replace(object_delete(row.workspace_id, row.kind, row.id), rows=None) for row in rows)
            await self._store.commit(Batch(tuple(gone)))
            count += len(rows)
        return count

    async def _remove_content(self, before: str) -> int:
        """What was stored before that time, and no file that is valid then or later, nor any session, refers to.

        Content that is stored again after the question who uses it is not deleted: its time is checked with the
        deletion.
        """
        count = 0
        async for names in self._store.blobs.older(than=before):
            used = await self._store.objects.content_in_use(names, expired_by=before)
            for name in names:
                if name not in used:
                    count += await self._store.blobs.delete(name, older_than=before)
        return count
