"""The body of `POST /v1/messages`, put together from messages that were encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson

from roost.wire.messages import Message, ModelCard, ModelRequest

THINKING_TOKENS_MAX = 16_000
THINKING_TOKENS_MIN = 1_024
"""The smallest `budget_tokens` the Messages API takes; it must also be below `max_tokens`."""

_MARK = {"type": "ephemeral"}
_MARK_TAIL = b',"cache_control":' + orjson.dumps(_MARK) + b"}]}"
_UNMARKABLE = ("thinking", "redacted_thinking")


def encode_body(request: ModelRequest, thinking: Mapping[str, Any] | None) -> bytes:
    """The exact bytes of the request. The history's bytes never change from one request to the next, cache marks apart.

    There are at most four marks: one after tools and system, which change with the agent only, and one at the end of
    this request and of the two before it, so that each request finds what the last one wrote, however much was added.
    """
    head: dict[str, Any] = {"model": request.model, "max_tokens": request.max_tokens, "stream": True}
    if thinking:
        head["thinking"] = thinking
    if request.effort:
        head["output_config"] = {"effort": request.effort}
    if request.speed == "fast":
        head["speed"] = request.speed
    if request.inference_geo:
        head["inference_geo"] = request.inference_geo
    if request.tools:
        head["tools"] = request.tools if request.system else _last_marked(request.tools)
    if request.system:
        head["system"] = [{"type": "text", "text": request.system, "cache_control": _MARK}]
    marked = _request_ends(request.messages)
    messages = [
        _marked(message) if place in marked else message.encoded for place, message in enumerate(request.messages)
    ]
    return orjson.dumps(head)[:-1] + b',"messages":[' + b",".join(messages) + b"]}"


def thinking_for(card: ModelCard, max_tokens: int) -> Mapping[str, Any] | None:
    """How to ask this model to think: as it sees fit where it can, else with a budget.

    None where the provider does not say what the model can do, as behind a gateway: the field is then left out and the
    model's own default holds, since a kind of thinking that a model does not know fails the whole request.
    """
    capabilities = (card.info or {}).get("capabilities") or {}
    kinds = (capabilities.get("thinking") or {}).get("types") or {}
    if kinds.get("adaptive", {}).get("supported"):
        return {"type": "adaptive"}
    budget = min(THINKING_TOKENS_MAX, max_tokens // 2)
    if kinds.get("enabled", {}).get("supported") and budget >= THINKING_TOKENS_MIN:
        return {"type": "enabled", "budget_tokens": budget}
    return None


def _last_marked(tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [*tools[:-1], {**tools[-1], "cache_control": _MARK}]


def _request_ends(messages: Sequence[Message]) -> set[int]:
    """Where this request ends and where the two before it ended."""
    return {len(messages) - 1, *islice(_earlier_ends(messages), 2)}


def _earlier_ends(messages: Sequence[Message]) -> Iterator[int]:
    for place in range(len(messages) - 2, -1, -1):
        if messages[place + 1].role == "assistant" != messages[place].role:
            yield place


def _marked(message: Message) -> bytes:
    """The message with a cache mark put into its last block; unchanged where that block may not carry one."""
    if not message.content or message.content[-1]["type"] in _UNMARKABLE:
        return message.encoded
    return message.encoded.removesuffix(b"}]}") + _MARK_TAIL
