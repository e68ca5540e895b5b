"""The models the server knows: one that thinks as it sees fit, one that needs a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ADAPTIVE = "claude-opus-5"
BUDGETED = "claude-haiku-4-5"


def _model(id: str, name: str, created_at: str, max_tokens: int, adaptive: bool) -> dict[str, Any]:
    yes, no = {"supported": True}, {"supported": False}
    effort = yes if adaptive else no
    return {
        "type": "model",
        "id": id,
        "display_name": name,
        "created_at": created_at,
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": id.split("-")[1],
        "max_input_tokens": 200_000,
        "max_tokens": max_tokens,
        "capabilities": {
            **dict.fromkeys(("batch", "citations", "code_execution", "image_input", "pdf_input"), yes),
            "structured_outputs": yes,
            "context_management": yes,
            "effort": {**effort, "low": effort, "medium": effort, "high": effort, "max": effort},
            "server_tools": {**yes, "code_execution": yes, "web_search": yes},
            "thinking": {
                **yes,
                "types": {
                    "adaptive": yes if adaptive else no,
                    "between_tools": no,
                    "disabled": yes,
                    "enabled": no if adaptive else yes,
                },
            },
        },
    }


MODELS: Mapping[str, Mapping[str, Any]] = {
    ADAPTIVE: _model(ADAPTIVE, "Claude Opus 5", "2026-07-24T00:00:00Z", 128_000, adaptive=True),
    BUDGETED: _model(BUDGETED, "Claude Haiku 4.5", "2025-10-15T00:00:00Z", 64_000, adaptive=False),
}
