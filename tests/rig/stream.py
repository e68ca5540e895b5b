"""Messages stream events made of blocks, for tests below the provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from roost.wire.messages import Block

USAGE: Mapping[str, int] = {
    "input_tokens": 7,
    "output_tokens": 3,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 2,
}


def thinking(text: str, signature: str = "sealed") -> Block:
    return {"type": "thinking", "thinking": text, "signature": signature}


def text(said: str) -> Block:
    return {"type": "text", "text": said}


def call(id: str, name: str, **input: Any) -> Block:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def stream(
    *blocks: Block,
    stop_reason: str = "end_turn",
    usage: Mapping[str, Any] = USAGE,
    cut: bool = False,
    stop_details: Mapping[str, Any] | None = None,
) -> Iterator[Mapping[str, Any]]:
    """The events of one reply, each text in two deltas. With `cut` the last block ends in its middle."""
    yield {"type": "message_start", "message": {"usage": {"input_tokens": usage.get("input_tokens", 0)}}}
    for index, block in enumerate(blocks):
        yield from _block(index, block, cut=cut and index == len(blocks) - 1)
    delta = {"stop_reason": stop_reason, "stop_details": stop_details}
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def _block(index: int, block: Block, cut: bool) -> Iterator[Mapping[str, Any]]:
    opened, deltas = _parts(block)
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    for delta in deltas[: len(deltas) // 2] if cut else deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if not cut:
        yield {"type": "content_block_stop", "index": index}


def _parts(block: Block) -> tuple[Block, list[dict[str, Any]]]:
    """How the block opens, and its deltas."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": half} for half in _halves(block["text"])]
        case "thinking":
            said = {"type": "thinking_delta", "thinking": block["thinking"]}
            sealed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [said, sealed]
        case "tool_use" | "server_tool_use":
            halves = _halves(orjson.dumps(block["input"]).decode())
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": half} for half in halves]
    return block, []


def _halves(whole: str) -> list[str]:
    middle = len(whole) // 2
    return [whole[:middle], whole[middle:]]
