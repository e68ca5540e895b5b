"""Models (contract/models-and-messages.md): every documented key is present, also for a foreign model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roost.wire.messages import ModelCard

_CAPABILITIES = (
    "batch",
    "citations",
    "code_execution",
    "image_input",
    "pdf_input",
    "structured_outputs",
)
_LEVELS = ("low", "medium", "high", "xhigh", "max")
_STRATEGIES = ("clear_thinking_20251015", "clear_tool_uses_20250919", "compact_20260112")
_THINKING = ("adaptive", "between_tools", "disabled", "enabled")


def _support(value: bool = False) -> dict[str, Any]:
    return {"supported": value}


def _each(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _support() for name in names}


def model_info(card: ModelCard) -> Mapping[str, Any]:
    """The provider's own ModelInfo where it has one, filled up with what a card knows and with plain noes."""
    limits = card.limits
    capabilities = {
        **_each(_CAPABILITIES),
        "image_input": _support(limits.image_input),
        "pdf_input": _support(limits.pdf_input),
        "compaction": {**_support(), "summarize": _support()},
        "context_management": {**_support(), **_each(_STRATEGIES)},
        "effort": {**_support(), **_each(_LEVELS)},
        "server_tools": {**_support(), "code_execution": _support(), "web_search": _support()},
        "thinking": {**_support(), "types": _each(_THINKING)},
    }
    known: dict[str, Any] = {
        "id": card.id,
        "type": "model",
        "display_name": card.display_name,
        "created_at": card.created_at,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": limits.context_window,
        "max_tokens": limits.max_output_tokens,
        "capabilities": capabilities,
        "allowed_fallback_models": [],
    }
    return _filled(known, card.info or {})


def _filled(known: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `known`, level by level, so that no key is missing."""
    both: dict[str, Any] = {**known, **own}
    for name, value in known.items():
        if isinstance(value, Mapping):
            given = own.get(name)
            both[name] = _filled(value, given) if isinstance(given, Mapping) else value
    return both
