"""The Messages shape: what the brain asks a model, whatever the provider (contract/models-and-messages.md)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol

import orjson

Role = Literal["user", "assistant", "system"]
Block = Mapping[str, Any]


@dataclass(frozen=True)
class Message:
    """One entry of `messages`. Encoded once and shared by every later request of the session."""

    role: Role
    content: tuple[Block, ...]

    @cached_property
    def encoded(self) -> bytes:
        """`{"role":...,"content":[...]}`, without cache marks."""
        return orjson.dumps({"role": self.role, "content": self.content})


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model, in the words of the Messages API.

    `messages` are the context in order; cache marks are the provider's business, never in here. `session_id` lets a
    provider keep per-session state (the scripted model's place in its plan); it is never sent to a model.
    """

    model: str
    system: str
    messages: tuple[Message, ...]
    tools: tuple[Block, ...] = ()
    max_tokens: int = 32_000
    effort: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    session_id: str = ""


ModelErrorKind = Literal[
    "overloaded", "rate_limited", "unavailable", "request_failed", "authentication", "billing", "context_overflow"
]


@dataclass(eq=False)
class ModelError(Exception):
    """A model request that brought no usable reply.

    `kind` decides what the brain does: `overloaded`, `rate_limited` and `unavailable` (408, 409, 5xx, a broken or
    stalled stream) are tried again; the others end the turn. `message` is for the user and holds no secret.
    """

    kind: ModelErrorKind
    message: str
    retry_after_s: float | None = None
    status: int | None = None

    @property
    def retryable(self) -> bool:
        return self.kind in ("overloaded", "rate_limited", "unavailable")

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What the harness must know of a model before it asks."""

    max_output_tokens: int = 32_000
    context_window: int | None = None
    mid_conversation_system: bool = True
    image_input: bool = True
    pdf_input: bool = True


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model a provider offers; becomes a `ModelInfo` on `GET /v1/models`."""

    id: str
    display_name: str
    created_at: str = "1970-01-01T00:00:00Z"
    limits: ModelLimits = field(default_factory=ModelLimits)
    info: Mapping[str, Any] | None = None
    """The provider's own ModelInfo, passed through unchanged where it has one."""


class ModelProvider(Protocol):
    """A source of model replies."""

    @property
    def name(self) -> str: ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[Mapping[str, Any], None]:
        """The reply as Messages stream events (`message_start` .. `message_stop`, parsed JSON, pings left out).

        An async generator; closing it closes the connection. Raises ModelError, and only that, for whatever goes
        wrong on the way, a stream that ends without `message_stop` included.
        """
        ...

    async def limits(self, model: str) -> ModelLimits: ...

    async def models(self) -> list[ModelCard]:
        """What the provider can run, newest first. Raises ModelError."""
        ...
