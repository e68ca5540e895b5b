"""Plans of the scripted model: reading one, and finding the place a conversation has reached in it.

A plan is JSON values one after another, each the reply to one model request. A reply is an object whose keys are played
in the order they are written; where a key must come twice, the reply is a list of such objects.

    {"thinking": "I should look first.", "text": "Let me see.", "tools": [{"name": "bash", "input": {"command": "ls"}}]}
    [{"text": "Half "}, {"delay_s": 0.5}, {"text": "done: {{last_result}}"}]

The keys are described in docs/guide/scripted-model.md and in `PARTS` below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from json import JSONDecodeError, JSONDecoder
from typing import Any, get_args

import orjson

from roost.wire.messages import Block, Message, ModelErrorKind

PARTS: Mapping[str, str] = {
    "text": "text of the reply, streamed in several deltas",
    "thinking": "a thinking block",
    "tools": "a list of calls, all made in this one reply: `name`, `input`, and `cut` (true: the input breaks off)",
    "delay_s": "seconds of silence; an interrupt ends them",
    "error": "fails the request here: a kind, or `kind`, `message`, `retry_after_s`, `times`",
    "stop": "the stop reason, where it is not `end_turn` or `tool_use`",
    "stop_details": "goes with the stop reason `refusal`",
    "usage": "token counters, in place of estimates",
}
STOP_REASONS = (
    *("end_turn", "tool_use", "max_tokens", "stop_sequence"),
    *("pause_turn", "refusal", "model_context_window_exceeded"),
)

PLAN_CHARS_MAX = 256_000
FENCE = "```roost-script"

_REFERENCE = re.compile(r"\{\{\s*(last_result|result\s+(\d{1,6}))\s*\}\}")


class PlanError(ValueError):
    """A plan that cannot be played. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Part:
    """One key of a reply, with its value."""

    key: str
    value: Any


Step = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """The value of `error`: always, or for the first `times` requests that come to this place."""

    kind: ModelErrorKind
    message: str
    retry_after_s: float | None
    times: int | None


# --- reading ---------------------------------------------------------------------------------------------------------


def parse_plan(text: str) -> tuple[Step, ...]:
    """The steps of a plan of at most PLAN_CHARS_MAX characters. Raises PlanError."""
    if len(text) > PLAN_CHARS_MAX:
        raise PlanError(f"The script is longer than {PLAN_CHARS_MAX:,} characters.")
    decoder = JSONDecoder()
    steps: list[Step] = []
    at = _past_space(text, 0)
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
            orjson.dumps(value)
        except JSONDecodeError as error:
            raise PlanError(f"The script is not JSON at line {error.lineno}: {error.msg}.") from None
        except (RecursionError, TypeError):
            raise PlanError(f"Step {len(steps) + 1} of the script holds more than JSON can carry on.") from None
        steps.append(_step(value, len(steps) + 1))
        at = _past_space(text, at)
    if not steps:
        raise PlanError("The script is empty.")
    return tuple(steps)


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _step(value: Any, number: int) -> Step:
    objects = value if isinstance(value, list) else [value]
    parts = []
    for entry in objects:
        if not isinstance(entry, dict):
            raise PlanError(f"Step {number} of the script must be an object, or a list of objects.")
        for key, inner in entry.items():
            check = _CHECKS.get(key)
            if check is None:
                raise PlanError(f"Step {number} of the script has the unknown key `{key}`; known: {', '.join(PARTS)}.")
            if not check(inner):
                raise PlanError(f"Step {number} of the script has a wrong `{key}`: {PARTS[key]}.")
            parts.append(Part(key, _failure_of(inner) if key == "error" else inner))
    return tuple(parts)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _are_tools(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(tool, dict)
        and {"name"} <= tool.keys() <= {"name", "input", "cut"}
        and isinstance(tool["name"], str)
        and isinstance(tool.get("input", {}), dict)
        and isinstance(tool.get("cut", False), bool)
        for tool in value
    )


def _is_error(value: Any) -> bool:
    error = {"kind": value} if isinstance(value, str) else value
    return (
        isinstance(error, dict)
        and error.keys() <= {"kind", "message", "retry_after_s", "times"}
        and error.get("kind") in get_args(ModelErrorKind)
        and isinstance(error.get("message", ""), str)
        and _is_number(error.get("retry_after_s", 0))
        and _is_number(error.get("times", 0))
    )


def _failure_of(value: Any) -> Failure:
    error: Mapping[str, Any] = {"kind": value} if isinstance(value, str) else value
    message = error.get("message") or f"The script fails this request: {error['kind']}."
    return Failure(error["kind"], message, error.get("retry_after_s"), error.get("times"))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "thinking": _is_text,
    "tools": _are_tools,
    "delay_s": _is_number,
    "error": _is_error,
    "stop": lambda value: value in STOP_REASONS,
    "stop_details": lambda value: isinstance(value, dict),
    "usage": lambda value: isinstance(value, dict),
}


# --- finding the place -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A plan in a conversation, and how many of its steps were played."""

    source: str
    place: int
    results: tuple[str, ...]
    """What the tools answered since the plan began, in order."""


def find_plan(messages: Sequence[Message], plan_file: str | None) -> Found | None:
    """The newest plan of a user message, else the file's, which begins with the conversation; None without either.

    A function of the messages alone, so that the place survives restarts and belongs to each session by itself.
    """
    for at in range(len(messages) - 1, -1, -1):
        if messages[at].role == "user":
            source = _last_block(_said(messages[at].content))
            if source is not None:
                return _found(source, messages[at:])
    return _found(plan_file, messages) if plan_file is not None else None


def _last_block(text: str) -> str | None:
    """What the last fenced block of a text holds; a block that is not closed goes to the end."""
    if FENCE not in text:
        return None
    found: list[str] | None = None
    open_block: list[str] | None = None
    for line in text.split("\n"):
        if open_block is None and line.strip() == FENCE:
            found = open_block = []
        elif line.strip() == "```":
            open_block = None
        elif open_block is not None:
            open_block.append(line)
    return None if found is None else "\n".join(found)


def _found(source: str, messages: Sequence[Message]) -> Found:
    return Found(source, _steps_over(messages), tuple(_results(messages[1:])))


def _steps_over(messages: Sequence[Message]) -> int:
    """A step is over once something followed it: the reply it gave or, where it gave none, the user's next message."""
    roles = [message.role for message in messages if message.role != "system"]
    replies = roles.count("assistant")
    unanswered = sum(1 for before, after in pairwise(roles) if before == after == "user")
    return replies + unanswered


def _results(messages: Sequence[Message]) -> list[str]:
    return [
        _result_text(block)
        for message in messages
        if message.role == "user"
        for block in message.content
        if block["type"] == "tool_result"
    ]


def _result_text(block: Block) -> str:
    content = block.get("content") or ""
    return content if isinstance(content, str) else _said(content)


def _said(blocks: Sequence[Block]) -> str:
    return "\n".join(block["text"] for block in blocks if block["type"] == "text")


# --- references to results -------------------------------------------------------------------------------------------


def filled(value: Any, results: Sequence[str]) -> Any:
    """`value` with `{{last_result}}` and `{{result N}}` (from 1) replaced in every string. Raises PlanError."""
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: _result(match, results), value)
    if isinstance(value, list):
        return [filled(item, results) for item in value]
    if isinstance(value, dict):
        return {name: filled(item, results) for name, item in value.items()}
    return value


def _result(match: re.Match[str], results: Sequence[str]) -> str:
    number = int(match[2]) if match[2] else len(results)
    if not 1 <= number <= len(results):
        raise PlanError(f"The script asks for {match[0]}, but there are {len(results)} tool results so far.")
    return results[number - 1]
