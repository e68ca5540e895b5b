"""Everything a request must satisfy before it is answered, in the order the real API looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.messages_server.cache import check_marks
from tests.messages_server.history import blocks_of, check_messages, check_text
from tests.messages_server.models import MODELS
from tests.messages_server.refusal import Refusal
from tests.messages_server.schema import check_body, known_betas

API_VERSIONS = ("2026-10-21", "2023-06-01")
FAST_MODE_BETA = "fast-mode-2026-02-01"
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def check_headers(headers: Mapping[str, str]) -> None:
    if not headers.get("x-api-key") and not headers.get("authorization", "").startswith("Bearer "):
        raise Refusal("an authorization or x-api-key header is required", 401, "authentication_error")
    if headers.get("anthropic-version") not in API_VERSIONS:
        raise Refusal("anthropic-version: header is required")
    unknown = _betas(headers) - known_betas()
    if unknown:
        raise Refusal(f"Unexpected value(s) {', '.join(sorted(unknown))} for the `anthropic-beta` header.")


def check_request(headers: Mapping[str, str], body: Any) -> None:
    """Raises Refusal for what the real API refuses."""
    check_body(body)
    _check_model(body)
    if body.get("speed") and FAST_MODE_BETA not in _betas(headers):
        raise Refusal("Extra inputs are not permitted").inside("speed")
    for place, block in enumerate(blocks_of(body.get("system") or [])):
        try:
            check_text(block)
        except Refusal as refusal:
            raise refusal.inside("system", place) from None
    _check_tools(body.get("tools") or [])
    check_messages(body["messages"], thinks=(body.get("thinking") or {}).get("type") in ("adaptive", "enabled"))
    check_marks(body)


def _betas(headers: Mapping[str, str]) -> set[str]:
    return {beta.strip() for beta in headers.get("anthropic-beta", "").split(",") if beta.strip()}


def _check_model(body: Mapping[str, Any]) -> None:
    model = MODELS.get(body["model"])
    if model is None:
        raise Refusal(f"model: {body['model']}", 404, "not_found_error")
    most = model["max_tokens"]
    if not 1 <= body["max_tokens"] <= most:
        raise Refusal(f"{body['max_tokens']} is not from 1 to {most}, what {body['model']} allows").inside("max_tokens")
    capabilities = model["capabilities"]
    if (body.get("output_config") or {}).get("effort") and not capabilities["effort"]["supported"]:
        raise Refusal("This model does not support the effort parameter.")
    thinking = body.get("thinking") or {"type": "disabled"}
    if not capabilities["thinking"]["types"][thinking["type"]]["supported"]:
        raise Refusal(f'"thinking.type.{thinking["type"]}" is not supported for this model.')
    budget = thinking.get("budget_tokens")
    if budget is not None and not 1_024 <= budget < body["max_tokens"]:
        raise Refusal("`max_tokens` must be greater than `thinking.budget_tokens`, and that at least 1024")


def _check_tools(tools: list[Mapping[str, Any]]) -> None:
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) < len(names):
        raise Refusal("Tool names must be unique.").inside("tools")
    for place, name in enumerate(names):
        if not _TOOL_NAME.fullmatch(name):
            raise Refusal("String should match pattern '^[a-zA-Z0-9_-]{1,128}$'").inside("tools", place, "name")
    for place, tool in enumerate(tools):
        if "input_schema" in tool and tool["input_schema"].get("type") != "object":
            raise Refusal("Input should be 'object'").inside("tools", place, "input_schema", "type")
