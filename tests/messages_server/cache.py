"""The prompt cache: what was marked before is read, what is marked now is written, by prefix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tests.messages_server.history import blocks_of
from tests.messages_server.refusal import Refusal

MARKS_MAX = 4
LOOKBACK_BLOCKS = 20
"""How far before a mark the cache looks for an entry."""


def tokens_of(encoded: bytes) -> int:
    """A fixed rule of thumb: four bytes a token."""
    return -(-len(encoded) // 4)


class PromptCache:
    """Entries are digests of prefixes that ended at a mark; unlike the real cache it has no smallest prefix."""

    def __init__(self) -> None:
        self._entries: set[bytes] = set()

    def charge(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The usage counters of the input, after which the marked prefixes are kept."""
        digests: list[bytes] = []
        counts: list[int] = []
        marks: list[int] = []
        digest = hashlib.blake2b(orjson.dumps(body["model"]), digest_size=16)
        total = 0
        for place, (where, block) in enumerate(_blocks(body)):
            if block.get("cache_control"):
                marks.append(place)
            encoded = orjson.dumps({name: value for name, value in block.items() if name != "cache_control"})
            digest.update(where.encode() + encoded)
            total += tokens_of(encoded)
            digests.append(digest.digest())
            counts.append(total)
        read = max((counts[hit] for mark in marks if (hit := self._hit(digests, mark)) is not None), default=0)
        written = max((counts[mark] for mark in marks), default=0)
        self._entries.update(digests[mark] for mark in marks)
        created = max(0, written - read)
        return {
            "input_tokens": total - max(written, read),
            "cache_creation_input_tokens": created,
            "cache_read_input_tokens": read,
            "cache_creation": {"ephemeral_5m_input_tokens": created, "ephemeral_1h_input_tokens": 0},
        }

    def _hit(self, digests: list[bytes], mark: int) -> int | None:
        for place in range(mark, max(-1, mark - LOOKBACK_BLOCKS - 1), -1):
            if digests[place] in self._entries:
                return place
        return None


def check_marks(body: Mapping[str, Any]) -> None:
    """Raises Refusal for more marks than the API takes, nested ones included."""
    marks = sum(1 for _, block in _blocks(body) for _ in _marks_in(block))
    if marks > MARKS_MAX:
        raise Refusal(f"A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {marks}.")


def _marks_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if value.get("cache_control"):
            yield value
        for name, inner in value.items():
            if name == "content":
                yield from _marks_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marks_in(inner)


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that is cached, in the cache's order: tools, system, messages."""
    for tool in body.get("tools") or ():
        yield "tools", tool
    for block in blocks_of(body.get("system") or []):
        yield "system", block
    # A change of these leaves tools and system cached, and nothing after them.
    settings = orjson.dumps([body.get("thinking"), body.get("tool_choice")]).decode()
    for place, message in enumerate(body["messages"]):
        for block in blocks_of(message["content"]):
            yield f"{settings}{place}{message['role']}", block
