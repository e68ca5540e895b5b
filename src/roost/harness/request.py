"""What the model is asked: a function of the agent's snapshot and of the folded log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any

import orjson

from roost.harness.files import with_file
from roost.harness.fold import State
from roost.harness.tools.toolset import BUILT_IN, REMOTE, Toolset
from roost.store.protocols import SessionRow, Store
from roost.wire.messages import Block, Message, ModelRequest


def _prompt(name: str) -> str:
    return files("roost.harness").joinpath(f"prompts/{name}.md").read_text(encoding="utf-8").strip()


HARNESS_PROMPT = _prompt("v1")
"""One versioned file, byte-stable: a new wording is a new file."""
SELF_HOSTED_PROMPT = _prompt("v1-self-hosted")
"""The same for tools that a worker runs: its machine has none of our directories (behaviour/06 section 6.1)."""

BLANK = "(blank)"
"""Stands for text of nothing but space, which the Messages API refuses, then and in every later request."""


@dataclass(frozen=True)
class Config:
    """The part of a session that does not move during a request, parsed once for each version of the row's body."""

    body: bytes

    @cached_property
    def parsed(self) -> Mapping[str, Any]:
        parsed: Mapping[str, Any] = orjson.loads(self.body)
        return parsed

    @property
    def agent(self) -> Mapping[str, Any]:
        agent: Mapping[str, Any] = self.parsed["agent"]
        return agent

    @property
    def agent_name(self) -> str:
        return str(self.agent["name"])

    @property
    def resources(self) -> list[Mapping[str, Any]]:
        return list(self.parsed.get("resources") or ())

    @property
    def self_hosted(self) -> bool:
        """Whether a worker runs the built-in tools."""
        return bool(self.parsed.get("self_hosted"))

    @cached_property
    def tools(self) -> Toolset:
        return Toolset(self.agent["tools"], REMOTE if self.self_hosted else BUILT_IN)

    @cached_property
    def system(self) -> str:
        """The harness prompt, the files at hand, the agent's own system prompt."""
        parts = [SELF_HOSTED_PROMPT if self.self_hosted else HARNESS_PROMPT]
        mounted = [f"- {entry['mount_path']}" for entry in self.resources if entry["type"] == "file"]
        if mounted:
            parts.append("Files the user gave you:\n" + "\n".join(mounted))
        if self.agent.get("system"):
            parts.append(str(self.agent["system"]))
        return "\n\n".join(parts)


@dataclass
class Context:
    """The messages of a session with their files put in; grows with the state and is never rewritten."""

    state: State = field(default_factory=State)
    _resolved: list[Message] = field(default_factory=list)

    async def messages(self, store: Store, workspace_id: str) -> tuple[Message, ...]:
        for message in self.state.messages[len(self._resolved) :]:
            self._resolved.append(await _resolved(message, store, workspace_id))
        noted = [await _resolved(message, store, workspace_id) for message in self.state.noted]
        return (*self._resolved, *noted)


async def _resolved(message: Message, store: Store, workspace_id: str) -> Message:
    if message.role == "assistant":
        return message
    return Message(message.role, tuple([await _block(block, store, workspace_id) for block in message.content]))


async def _block(block: Block, store: Store, workspace_id: str) -> Block:
    if block["type"] == "tool_result":
        content = [await _block(inner, store, workspace_id) for inner in block["content"]]
        return {**block, "content": content}
    if block["type"] == "text" and not block["text"].strip():
        return {"type": "text", "text": BLANK}
    source = block.get("source")
    if isinstance(source, Mapping) and source["type"] == "file":
        return await with_file(store, workspace_id, block)
    return {name: value for name, value in block.items() if value is not None}


def model_request(row: SessionRow, config: Config, messages: tuple[Message, ...], max_tokens: int) -> ModelRequest:
    model = config.agent["model"]
    effort = model.get("effort")
    return ModelRequest(
        model=model["id"],
        system=config.system,
        messages=messages,
        tools=config.tools.definitions,
        max_tokens=max_tokens,
        effort=effort["type"] if effort else None,
        speed=model.get("speed"),
        inference_geo=model.get("inference_geo"),
        session_id=row.id,
    )
