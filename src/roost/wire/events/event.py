"""What all stored events share (contract/events.md).

An event's bytes are made once, when it is written: the model here gives everything up to the time, and the store, which
knows the time that keeps the log monotone, closes the object. `processed_at` is therefore no field of these models.
"""

from __future__ import annotations

import orjson
from pydantic import Field

from roost.core.ids import new_id
from roost.wire.shape import Wire


def event_id() -> str:
    return new_id("sevt")


class Event(Wire):
    """A stored event. `id` is drawn when the object is made, so that others can refer to it before it is written."""

    id: str = Field(default_factory=event_id)
    type: str
    """Every subclass narrows it to its own name; declared here so that it stands second in the JSON."""

    def head(self) -> bytes:
        """The event's JSON up to and including `"processed_at":`."""
        return orjson.dumps(self.model_dump(mode="json"))[:-1] + b',"processed_at":'
