"""The rules for `messages` that no type can state: who speaks when, calls and results, thinking that comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.messages_server.refusal import Refusal
from tests.messages_server.replies import redacted_data_of, signature_of, thinking_seal

Block = Mapping[str, Any]
THOUGHTS = ("thinking", "redacted_thinking")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_SEALED_ID = re.compile(r"toolu_[0-9]+_([0-9a-f]{12})")


def blocks_of(content: Any) -> list[Block]:
    """A string is short for one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def check_messages(messages: Sequence[Mapping[str, Any]], thinks: bool) -> None:
    """Raises Refusal; `thinks` says whether the request turns thinking on."""
    if not messages:
        raise Refusal("at least one message is required").inside("messages")
    contents = [blocks_of(message["content"]) for message in messages]
    _check_roles([message["role"] for message in messages], contents)
    for place, (message, blocks) in enumerate(zip(messages, contents, strict=True)):
        try:
            _check_blocks(message["role"], blocks)
        except Refusal as refusal:
            raise refusal.inside("messages", place) from None
    _check_calls(messages, contents)
    if thinks:
        _check_thinking_came_back(messages, contents)


def _check_roles(roles: Sequence[str], contents: Sequence[Sequence[Block]]) -> None:
    if roles[0] != "user":
        raise Refusal("first message must use the `user` role").inside("messages", 0)
    for place, role in enumerate(roles):
        if role != "system":
            continue
        before = contents[place - 1][-1:] if roles[place - 1] == "assistant" else None
        if roles[place - 1] == "system" or (before is not None and not _paused(before)):
            raise Refusal("a `system` message must follow a `user` message").inside("messages", place)
        if place + 1 < len(roles) and roles[place + 1] != "assistant":
            raise Refusal("a `system` message must be last or followed by an `assistant` message").inside(
                "messages", place
            )
    if roles[-1] == "assistant" and not _paused(contents[-1]):
        raise Refusal(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _paused(blocks: Sequence[Block]) -> bool:
    return bool(blocks) and blocks[-1]["type"] == "server_tool_use"


# --- blocks ----------------------------------------------------------------------------------------------------------

_WHO_MAY_SAY: Mapping[str, str] = {
    "tool_use": "assistant",
    "server_tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
    "image": "user",
    "document": "user",
}


def _check_blocks(role: str, blocks: Sequence[Block]) -> None:
    if not blocks:
        raise Refusal("all messages must have non-empty content except for the optional final assistant message")
    for place, block in enumerate(blocks):
        try:
            _check_block(role, block)
        except Refusal as refusal:
            raise refusal.inside("content", place) from None
    if role == "assistant" and blocks[-1]["type"] in THOUGHTS:
        raise Refusal("The final block in an assistant message cannot be `thinking`")
    kinds = [block["type"] == "tool_result" for block in blocks]
    if role == "user" and kinds != sorted(kinds, reverse=True):
        raise Refusal("`tool_result` blocks must come first in the content of their message")


def _check_block(role: str, block: Block) -> None:
    if _WHO_MAY_SAY.get(block["type"], role) != role:
        raise Refusal(f"`{block['type']}` blocks may not be in `{role}` messages")
    match block["type"]:
        case "text":
            check_text(block)
        case "thinking":
            if block["signature"] != signature_of(block["thinking"]):
                raise Refusal("Invalid `signature` in `thinking` block")
        case "redacted_thinking":
            if block["data"] != redacted_data_of(block["data"].partition(".")[0]):
                raise Refusal("Invalid `data` in `redacted_thinking` block")
        case "tool_use":
            if not _ID.fullmatch(block["id"]) or not _ID.fullmatch(block["name"]):
                raise Refusal("`id` and `name` should match pattern '^[a-zA-Z0-9_-]+$'")
        case "tool_result":
            _check_result(block)


def check_text(block: Block) -> None:
    if not block["text"]:
        raise Refusal("text content blocks must be non-empty")
    if not block["text"].strip():
        raise Refusal("text content blocks must contain non-whitespace text")


def _check_result(block: Block) -> None:
    content = blocks_of(block.get("content") or [])
    if block.get("is_error") and not content:
        raise Refusal("content cannot be empty if `is_error` is true")
    for place, inner in enumerate(content):
        if inner["type"] == "text":
            try:
                check_text(inner)
            except Refusal as refusal:
                raise refusal.inside("content", place) from None


# --- calls and results -----------------------------------------------------------------------------------------------


def _check_calls(messages: Sequence[Mapping[str, Any]], contents: Sequence[Sequence[Block]]) -> None:
    """Neighbours of one role count as one message, as in the API."""
    seen: set[str] = set()
    open_calls: list[str] = []
    for first, blocks in _turns(messages, contents):
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if len(set(results)) < len(results):
            twice = next(result for result in results if results.count(result) > 1)
            raise Refusal(
                f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {twice}"
            ).inside("messages", first)
        for answered in results:
            if answered not in open_calls:
                raise Refusal(
                    f"unexpected `tool_use_id` found in `tool_result` blocks: {answered}. Each `tool_result` block "
                    "must have a corresponding `tool_use` block in the previous message."
                ).inside("messages", first)
        unanswered = [call for call in open_calls if call not in results]
        if unanswered:
            raise Refusal(_unanswered(unanswered)).inside("messages", first - 1)
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(open_calls)) < len(open_calls) or not seen.isdisjoint(open_calls):
            raise Refusal("`tool_use` ids must be unique").inside("messages", first)
        seen.update(open_calls)
    if open_calls:
        raise Refusal(_unanswered(open_calls)).inside("messages", len(messages) - 1)


def _unanswered(ids: Sequence[str]) -> str:
    return (
        f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(ids)}. Each `tool_use` "
        "block must have a corresponding `tool_result` block in the next message."
    )


def _turns(
    messages: Sequence[Mapping[str, Any]], contents: Sequence[Sequence[Block]]
) -> Iterator[tuple[int, list[Block]]]:
    """Place of the first message and blocks of each run of messages of one role."""
    start = 0
    for place in range(1, len(messages) + 1):
        if place == len(messages) or messages[place]["role"] != messages[start]["role"]:
            yield start, [block for blocks in contents[start:place] for block in blocks]
            start = place


# --- thinking --------------------------------------------------------------------------------------------------------


def _check_thinking_came_back(messages: Sequence[Mapping[str, Any]], contents: Sequence[Sequence[Block]]) -> None:
    """In the tool loop that is still running, each call must come with the thinking that was said before it."""
    for place in range(_loop_start(messages, contents), len(messages)):
        thoughts: list[Block] = []
        for at, block in enumerate(contents[place]):
            if block["type"] in THOUGHTS:
                thoughts.append(block)
            sealed = _SEALED_ID.fullmatch(block["id"]) if block["type"] == "tool_use" else None
            if sealed and sealed[1] != thinking_seal(thoughts):
                raise Refusal(
                    "Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, the "
                    "blocks of the latest assistant turn must come back as they were in the original response."
                ).inside("messages", place, "content", at)


def _loop_start(messages: Sequence[Mapping[str, Any]], contents: Sequence[Sequence[Block]]) -> int:
    """The place after the last user message that carries no result."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place]["role"] == "user" and all(block["type"] != "tool_result" for block in contents[place]):
            return place + 1
    return 0
