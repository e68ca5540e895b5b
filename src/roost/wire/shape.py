"""What every shape on the wire has in common."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """A request body or a part of one. An unknown field is refused: nothing is silently accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Wire(BaseModel):
    """An object the server answers. Every documented field is sent, null when empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """The exact bytes that go out, made once."""
        return orjson.dumps(self.model_dump(mode="json", by_alias=True))


def encode(value: Any) -> bytes:
    """JSON bytes of a plain value."""
    return orjson.dumps(value)
