"""Stream-only previews: sent to those who asked, never stored (contract/events.md, Stream-only previews)."""

from __future__ import annotations

from typing import Any, Literal, get_args

from roost.wire.shape import encode

DeltaType = Literal["agent.message", "agent.thinking"]
DELTA_TYPES: tuple[str, ...] = get_args(DeltaType)
DELTA_TYPES_MAX = 100


def event_start(event_id: str, kind: DeltaType) -> bytes:
    """Announces the id that the final event will carry."""
    return encode({"type": "event_start", "event": {"type": kind, "id": event_id}})


def event_delta(event_id: str, index: int, text: str) -> bytes:
    """A piece of text for one content entry of the coming `agent.message`."""
    content: dict[str, Any] = {"type": "text", "text": text}
    return encode(
        {
            "type": "event_delta",
            "event_id": event_id,
            "delta": {"type": "content_delta", "index": index, "content": content},
        }
    )
