"""Models for tests that ask none: one that says what it can do, and one of which nothing is known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from roost.wire.messages import ModelCard, ModelError, ModelLimits, ModelRequest

KNOWN = "claude-known-1"
OLD = "claude-old-1"
FOREIGN = "scripted"


class Models:
    """`roost.wire.messages.ModelProvider`, as far as the API uses it."""

    name = "test"

    def __init__(self) -> None:
        self.failure: ModelError | None = None

    def stream(self, request: ModelRequest) -> AsyncGenerator[Mapping[str, Any], None]:
        raise AssertionError("the API asks no model")

    async def limits(self, model: str) -> ModelLimits:
        return ModelLimits(mid_conversation_system=model != OLD)

    async def models(self) -> list[ModelCard]:
        if self.failure:
            raise self.failure
        supported = {"supported": True}
        info = {"id": KNOWN, "lifecycle": "active", "capabilities": {"effort": {**supported, "high": supported}}}
        return [
            ModelCard(KNOWN, "Known", "2026-06-01T00:00:00Z", info=info),
            ModelCard(OLD, "Old", "2025-06-01T00:00:00Z", info={"id": OLD, "lifecycle": "retired"}),
            ModelCard(FOREIGN, "Scripted"),
        ]
