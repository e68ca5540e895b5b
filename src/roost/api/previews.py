"""Which previews are shown when (behaviour/02 section 2.7, Event deltas).

Previews and stored events reach a feed by two ways, so their order must be made here. The stored event of an id is the
last thing for that id; a preview that comes later is dropped. What was not stored when its model request ended never
will be. Previews may be shed, so whatever cannot be shown in its place is not shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from roost.wire.events.preview import DELTA_TYPES

FINISHED_MAX = 64
"""Stored messages that are remembered, to know a late preview of one."""


@dataclass(frozen=True, slots=True)
class Preview:
    """`kind` is the type of the coming event for the beginning of a preview, and empty for a piece of it."""

    event_id: str
    kind: str
    payload: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Preview:
        data = orjson.loads(payload)
        if data["type"] == "event_start":
            return cls(data["event"]["id"], data["event"]["type"], payload)
        return cls(data["event_id"], "", payload)

    @property
    def type(self) -> str:
        return "event_start" if self.kind else "event_delta"


class Previews:
    """The previews of one session that wait to be shown."""

    def __init__(self) -> None:
        self._waiting: list[Preview] = []
        self._open: set[str] = set()
        self._finished: deque[str] = deque(maxlen=FINISHED_MAX)

    def add(self, payloads: Iterable[bytes]) -> None:
        self._waiting += map(Preview.parse, payloads)

    @property
    def begins(self) -> bool:
        """Whether one begins, before which everything stored by then must be shown."""
        return any(preview.kind for preview in self._waiting)

    def before(self, type: str, event_id: str) -> list[Preview]:
        """What is shown before a stored event; afterwards nothing of what it ends is shown any more."""
        shown: list[Preview] = []
        if type in DELTA_TYPES:
            shown = self._shown(lambda preview: preview.event_id == event_id)
            self._open.discard(event_id)
            self._finished.append(event_id)
        elif type == "span.model_request_end":
            self._waiting.clear()
            self._open.clear()
        return shown

    def rest(self) -> list[Preview]:
        """What is shown when everything stored is."""
        return self._shown(lambda preview: True)

    def _shown(self, wanted: Callable[[Preview], bool]) -> list[Preview]:
        chosen = [preview for preview in self._waiting if wanted(preview)]
        self._waiting = [preview for preview in self._waiting if not wanted(preview)]
        return [preview for preview in chosen if self._fits(preview)]

    def _fits(self, preview: Preview) -> bool:
        if preview.kind and preview.event_id not in self._finished:
            self._open.add(preview.event_id)
        return preview.event_id in self._open
