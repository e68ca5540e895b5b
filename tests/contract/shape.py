"""Whether a reply has every field that the SDK documents, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anthropic.types.beta.beta_managed_agents_custom_tool_input_schema import BetaManagedAgentsCustomToolInputSchema
from pydantic import BaseModel

FREE = (BetaManagedAgentsCustomToolInputSchema,)
"""Shapes that belong to the user and are echoed as they were sent."""


def differences(value: Any, path: str = "") -> Iterator[str]:
    """The fields that are missing (-) or unknown (+), below a value as the SDK parsed it."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from differences(item, f"{path}[{place}]")
    elif isinstance(value, BaseModel) and not isinstance(value, FREE):
        names = set(type(value).model_fields) - {"request_id"}
        yield from (f"-{path}.{name}" for name in sorted(names - value.model_fields_set))
        yield from (f"+{path}.{name}" for name in sorted(value.model_extra or {}) if not name.startswith("_"))
        for name in sorted(names & value.model_fields_set):
            yield from differences(getattr(value, name), f"{path}.{name}")


def whole(value: Any) -> Any:
    """The value, once it is known to be complete."""
    assert list(differences(value)) == []
    return value
