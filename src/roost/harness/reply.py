"""From the model's stream to a reply, and from a reply to the events that record it.

The public events show text and calls; the whole reply (thinking with its signatures, block ids, stop reason) goes into
the private part of `span.model_request_end`, from where `fold` takes it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from roost.harness.tools.toolset import Toolset
from roost.store.protocols import Bus, EventDraft, preview_topic
from roost.store.statements import draft
from roost.wire.events.agent import AgentCustomToolUse, AgentMessage, AgentThinking, AgentToolUse
from roost.wire.events.content import TextBlock
from roost.wire.events.event import Event, event_id
from roost.wire.events.preview import event_delta, event_start
from roost.wire.events.span import ModelRequestEnd, ModelUsage
from roost.wire.messages import Block, ModelError

_DELTAS: Mapping[str, str] = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}

_CALLS = ("tool_use", "server_tool_use")
"""Blocks whose input is streamed as JSON text; the second kind is run by the provider."""


@dataclass
class _Open:
    """A block whose stream is still running."""

    block: dict[str, Any]
    event_id: str
    place: int
    """Index within its `agent.message`."""
    pieces: dict[str, list[str]] = field(default_factory=dict)

    def close(self) -> None:
        """Joins the pieces; a block that never saw its end is joined as far as it came."""
        for name, pieces in self.pieces.items():
            if name != "partial_json":
                self.block[name] = self.block.get(name, "") + "".join(pieces)
                pieces.clear()

    def input(self) -> dict[str, Any]:
        """The input of a call. Raises ModelError when it is not a JSON object."""
        if "partial_json" not in self.pieces:
            return dict(self.block.get("input") or {})
        try:
            value = orjson.loads("".join(self.pieces["partial_json"]))
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise ModelError("unavailable", f"The model sent a call of {self.block['name']} whose input is not JSON.")
        return value

    @property
    def cut_off(self) -> bool:
        """Whether the reply's end fell inside this call."""
        if self.block["type"] != "tool_use":
            return False
        if "partial_json" not in self.pieces:
            return not self.block.get("input")
        try:
            self.input()
        except ModelError:
            return True
        return False

    @property
    def replayable(self) -> bool:
        """Whether the Messages API takes the block back: no empty text, no thinking without its signature."""
        match self.block["type"]:
            case "text":
                return bool(self.block["text"].strip())
            case "thinking":
                return bool(self.block.get("signature"))
        return True


class ReplyReader:
    """Takes Messages stream events one by one and previews text to those who listen."""

    def __init__(self, session_id: str, bus: Bus) -> None:
        self._topic = preview_topic(session_id)
        self._bus = bus
        self._blocks: list[_Open] = []
        self.usage: dict[str, Any] = {}
        self.stop_reason = ""
        self.stop_details: Mapping[str, Any] | None = None

    def feed(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case "message_start":
                self._count(event["message"].get("usage"))
            case "content_block_start":
                self._start(event["content_block"])
            case "content_block_delta":
                self._delta(self._blocks[event["index"]], event["delta"])
            case "content_block_stop":
                self._blocks[event["index"]].close()
            case "message_delta":
                self.stop_reason = event["delta"].get("stop_reason") or self.stop_reason
                self.stop_details = event["delta"].get("stop_details") or self.stop_details
                self._count(event.get("usage"))

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        self.usage.update({name: value for name, value in (usage or {}).items() if value is not None})

    def _start(self, block: Mapping[str, Any]) -> None:
        last = self._blocks[-1] if self._blocks else None
        if block["type"] == "text" and last is not None and last.block["type"] == "text":
            opened = _Open(dict(block), last.event_id, last.place + 1)
        else:
            opened = _Open(dict(block), event_id(), 0)
            if block["type"] in ("text", "thinking") and self._bus.listened(self._topic):
                kind: Literal["agent.message", "agent.thinking"] = (
                    "agent.message" if block["type"] == "text" else "agent.thinking"
                )
                self._bus.publish(self._topic, event_start(opened.event_id, kind))
        self._blocks.append(opened)

    def _delta(self, opened: _Open, delta: Mapping[str, Any]) -> None:
        name = _DELTAS.get(delta["type"])
        if name is None:
            return
        opened.pieces.setdefault(name, []).append(delta[name])
        if name == "text" and self._bus.listened(self._topic):
            self._bus.publish(self._topic, event_delta(opened.event_id, opened.place, delta["text"]))

    def finish(self) -> Reply:
        """The reply, once the stream has ended. Raises ModelError where the reply is none."""
        if self.stop_reason == "model_context_window_exceeded":
            raise ModelError("context_overflow", "The conversation no longer fits the model's context window.")
        for opened in self._blocks:
            opened.close()
        cut_off = bool(self._blocks) and self.stop_reason == "max_tokens" and self._blocks[-1].cut_off
        blocks = self._blocks[:-1] if cut_off else self._blocks
        if self.stop_reason == "refusal":
            blocks = [opened for opened in blocks if opened.block["type"] != "tool_use"]
        for opened in blocks:
            if opened.block["type"] in _CALLS:
                opened.block["input"] = opened.input()
        kept = [opened for opened in blocks if opened.replayable]
        return Reply(kept, self.stop_reason, self.stop_details, self.usage, cut_off)


@dataclass(frozen=True)
class Reply:
    """A whole reply of a model."""

    blocks: Sequence[_Open]
    stop_reason: str
    stop_details: Mapping[str, Any] | None
    usage: Mapping[str, Any]
    cut_off: bool
    """A tool call was dropped because the reply ended inside it."""

    def drafts(self, span_id: str, tools: Toolset, *, remote: bool = False) -> list[EventDraft]:
        """Thinking, messages, calls, and the end of the span, in the order the model gave them.

        `remote` records that a worker runs the calls of built-in tools.
        """
        events: dict[str, Event] = {}
        calls: dict[str, str] = {}
        for opened in self.blocks:
            self._record(opened, tools, events, calls)
        private = {
            "content": [opened.block for opened in self.blocks],
            "calls": calls,
            "stop_reason": self.stop_reason,
            "stop_details": self.stop_details,
            "usage": self.usage,
            "cut_off": self.cut_off,
            "remote": remote,
        }
        end = ModelRequestEnd(model_request_start_id=span_id, is_error=False, model_usage=model_usage(self.usage))
        return [*map(draft, events.values()), draft(end, private=orjson.dumps(private))]

    def _record(self, opened: _Open, tools: Toolset, events: dict[str, Event], calls: dict[str, str]) -> None:
        block: Block = opened.block
        match block["type"]:
            case "text":
                said = events.get(opened.event_id)
                before = said.content if isinstance(said, AgentMessage) else []
                events[opened.event_id] = AgentMessage(
                    id=opened.event_id, content=[*before, TextBlock(text=block["text"])]
                )
            case "thinking" | "redacted_thinking":
                events[opened.event_id] = AgentThinking(id=opened.event_id)
            case "tool_use":
                calls[opened.event_id] = block["id"]
                events[opened.event_id] = _call(opened.event_id, block, tools)


def _call(id: str, block: Block, tools: Toolset) -> Event:
    if block["name"] in tools.custom:
        return AgentCustomToolUse(id=id, name=block["name"], input=block["input"])
    verdict = tools.judge(block["name"])
    return AgentToolUse(
        id=id,
        name=block["name"],
        input=block["input"],
        evaluated_permission=verdict.permission,
        evaluation=verdict.evaluation,
    )


def model_usage(counted: Mapping[str, Any]) -> ModelUsage:
    """The part of a provider's usage that the wire shows."""
    shown = {name: counted[name] for name in ModelUsage.model_fields if counted.get(name) is not None}
    return ModelUsage(**shown)
