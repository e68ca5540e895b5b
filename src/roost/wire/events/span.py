"""Model requests, from their start to their end (contract/events.md, span.*)."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from roost.wire.events.event import Event
from roost.wire.shape import Wire


class ModelUsage(Wire):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    speed: Literal["standard", "fast"] | None = None


class ModelRequestStart(Event):
    type: Literal["span.model_request_start"] = "span.model_request_start"


class ModelRequestEnd(Event):
    model_config = ConfigDict(protected_namespaces=())

    type: Literal["span.model_request_end"] = "span.model_request_end"
    model_request_start_id: str
    is_error: bool | None = None
    model_usage: ModelUsage
