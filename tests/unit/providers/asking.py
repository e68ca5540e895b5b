"""Requests for provider tests, and replies put together from their events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from roost.wire.messages import Block, Message, ModelProvider, ModelRequest

BASH = {"name": "bash", "description": "Runs a command.", "input_schema": {"type": "object", "properties": {}}}


def user(*blocks: Block | str) -> Message:
    return Message(
        "user", tuple({"type": "text", "text": block} if isinstance(block, str) else block for block in blocks)
    )


def assistant(*blocks: Block) -> Message:
    return Message("assistant", blocks)


def result(call: Block, text: str) -> Block:
    return {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": text}]}


def request(*messages: Message, model: str = "claude-opus-5", **more: Any) -> ModelRequest:
    return ModelRequest(**{"model": model, "system": "Be brief.", "messages": messages, "tools": (BASH,), **more})


@dataclass
class Answer:
    """A reply as it came: its events, and what they add up to."""

    events: list[Mapping[str, Any]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    stop_reason: str = ""
    stop_details: Any = None
    usage: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> Message:
        return assistant(*self.blocks)

    @property
    def text(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    def add(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)
        match event["type"]:
            case "message_start":
                self.usage.update(event["message"]["usage"])
            case "content_block_start":
                self.blocks.append(dict(event["content_block"]))
            case "content_block_delta":
                self._grow(self.blocks[event["index"]], event["delta"])
            case "content_block_stop":
                block = self.blocks[event["index"]]
                if "partial" in block:
                    block["input"] = _input(block.pop("partial"))
            case "message_delta":
                self.stop_reason = event["delta"]["stop_reason"]
                self.stop_details = event["delta"]["stop_details"]
                self.usage.update(event["usage"])

    def _grow(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        ((name, piece),) = [(name, value) for name, value in delta.items() if name != "type"]
        name = "partial" if name == "partial_json" else name
        block[name] = block.get(name, "") + piece


def _input(partial: str) -> Any:
    """The parsed input, or the text of one that was cut."""
    try:
        return orjson.loads(partial)
    except orjson.JSONDecodeError:
        return partial


async def ask(provider: ModelProvider, asked: ModelRequest) -> Answer:
    """The whole reply. Raises ModelError."""
    answer = Answer()
    await read(provider.stream(asked), answer)
    return answer


async def read(events: AsyncIterator[Mapping[str, Any]], answer: Answer) -> None:
    async for event in events:
        answer.add(event)
