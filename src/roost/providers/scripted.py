"""The scripted model: it plays a plan instead of thinking, to test agents without a key and without chance.

A user message carries the plan in a fenced block, or the server has a plan file for messages that carry none:

    ```roost-script
    {"text": "I look around.", "tools": [{"name": "bash", "input": {"command": "ls"}}]}
    {"text": "I found: {{last_result}}"}
    ```

Each JSON value is the reply to one model request (`roost.providers.script`). Everything it says, block ids included,
follows from the messages of the request, so a session goes on where it was after a restart. It checks nothing that the
real API would not: a tool that does not exist may be called, to see what the agent does. docs/guide/scripted-model.md
tells all of this to users.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from roost.providers.script import Failure, Found, Part, PlanError, Step, filled, find_plan, parse_plan
from roost.wire.messages import ModelCard, ModelError, ModelLimits, ModelRequest

MODEL = "scripted"
WORDS_A_DELTA = 4
FAILURES_KEPT_MAX = 10_000

WITHOUT_A_PLAN = (
    "I am the scripted model: I understand nothing and only play a plan, which you give me in a ```roost-script block "
    "of your message, one JSON value for each reply, such as "
    '{"text": "Hello", "tools": [{"name": "bash", "input": {"command": "date"}}]}.'
)
PLAN_IS_OVER = "I am the scripted model, and my plan has no further step: give me a new ```roost-script block."

Event = Mapping[str, Any]
_WORDS = re.compile(r"\s*\S+\s*")


class ScriptedProvider:
    """Answers to `scripted` and every `scripted-*`. Raises PlanError for a plan file that cannot be played."""

    name = "scripted"

    def __init__(
        self, plan_file: Path | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._plan = _read(plan_file) if plan_file is not None else None
        self._sleep = sleep
        self._failed: OrderedDict[tuple[str, int], int] = OrderedDict()
        """How often a place with a number of `times` has failed. Forgotten in a restart: then it fails anew."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Event, None]:
        """See `ModelProvider.stream`."""
        try:
            step, found = self._step(request)
            parts = [Part(part.key, filled(part.value, found.results if found else ())) for part in step]
        except PlanError as error:
            raise ModelError("request_failed", str(error)) from error
        reply = _Playing(request, parts)
        for part in parts:
            if part.key == "delay_s":
                await self._sleep(part.value)
            elif part.key == "error":
                self._fail(request, part.value)
            else:
                for event in reply.play(part):
                    yield event
        for event in reply.end():
            yield event

    async def limits(self, model: str) -> ModelLimits:
        return ModelLimits()

    async def models(self) -> list[ModelCard]:
        return [ModelCard(MODEL, "Scripted (plays a plan)")]

    async def close(self) -> None:
        """Holds nothing that must be closed."""

    def _step(self, request: ModelRequest) -> tuple[Step, Found | None]:
        found = find_plan(request.messages, self._plan)
        if found is None:
            return (Part("text", WITHOUT_A_PLAN),), None
        steps = _steps(found.source)
        return (steps[found.place] if found.place < len(steps) else (Part("text", PLAN_IS_OVER),)), found

    def _fail(self, request: ModelRequest, failure: Failure) -> None:
        if failure.times is not None:
            place = (request.session_id, len(request.messages))
            failed = self._failed.pop(place, 0)
            if failed >= failure.times:
                return
            self._failed[place] = failed + 1
            if len(self._failed) > FAILURES_KEPT_MAX:
                self._failed.popitem(last=False)
        raise ModelError(failure.kind, failure.message, failure.retry_after_s)


def _read(plan_file: Path) -> str:
    try:
        source = plan_file.read_text(encoding="utf-8")
        parse_plan(source)
    except (OSError, ValueError) as error:
        raise PlanError(f"{plan_file}: {error}") from error
    return source


@lru_cache(maxsize=64)
def _steps(source: str) -> tuple[Step, ...]:
    return parse_plan(source)


class _Playing:
    """A reply under way: which block comes next, and what the end must say."""

    def __init__(self, request: ModelRequest, parts: list[Part]) -> None:
        self._place = len(request.messages)
        self._model = request.model
        self._index = 0
        self._said = 0
        self._started = False
        self._stop_details: Mapping[str, Any] | None = None
        tools = [tool for part in parts if part.key == "tools" for tool in part.value]
        self._stop = "max_tokens" if any(tool.get("cut") for tool in tools) else "tool_use" if tools else "end_turn"
        self._usage: dict[str, Any] = {"input_tokens": _estimate(request)}
        for part in parts:
            if part.key == "usage":
                self._usage.update(part.value)

    def play(self, part: Part) -> Iterator[Event]:
        match part.key:
            case "text":
                start = {"type": "text", "text": ""}
                yield from self._block(start, [{"type": "text_delta", "text": piece} for piece in _pieces(part.value)])
            case "thinking":
                start = {"type": "thinking", "thinking": "", "signature": ""}
                said = {"type": "thinking_delta", "thinking": part.value}
                yield from self._block(start, [said, {"type": "signature_delta", "signature": "scripted"}])
            case "tools":
                for tool in part.value:
                    yield from self._call(tool)
            case "stop":
                self._stop = part.value
            case "stop_details":
                self._stop_details = part.value

    def end(self) -> Iterator[Event]:
        yield from self._start()
        usage = {"output_tokens": -(-self._said // 4), **self._usage}
        delta = {"stop_reason": self._stop, "stop_sequence": None, "stop_details": self._stop_details}
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}

    def _start(self) -> Iterator[Event]:
        if self._started:
            return
        self._started = True
        message: dict[str, Any] = {
            "id": f"msg_scripted_{self._place}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"output_tokens": 1, **self._usage},
        }
        yield {"type": "message_start", "message": message}

    def _call(self, tool: Mapping[str, Any]) -> Iterator[Event]:
        """A call; its id is unique in a conversation, whose length grows with every reply."""
        call_id = f"toolu_scripted_{self._place}_{self._index}"
        start = {"type": "tool_use", "id": call_id, "name": tool["name"], "input": {}}
        whole = orjson.dumps(tool.get("input", {})).decode()
        middle = len(whole) // 2
        pieces = [whole[:middle]] if tool.get("cut") else [whole[:middle], whole[middle:]]
        yield from self._block(start, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces])

    def _block(self, start: Mapping[str, Any], deltas: list[dict[str, Any]]) -> Iterator[Event]:
        yield from self._start()
        yield {"type": "content_block_start", "index": self._index, "content_block": start}
        for delta in deltas:
            self._said += sum(len(piece) for name, piece in delta.items() if name != "type")
            yield {"type": "content_block_delta", "index": self._index, "delta": delta}
        yield {"type": "content_block_stop", "index": self._index}
        self._index += 1


def _pieces(text: str) -> Iterator[str]:
    words = _WORDS.findall(text)
    for at in range(0, len(words), WORDS_A_DELTA):
        yield "".join(words[at : at + WORDS_A_DELTA])


def _estimate(request: ModelRequest) -> int:
    """Four bytes a token, as a rule of thumb."""
    said = sum(len(message.encoded) for message in request.messages)
    return -(-(len(request.system) + said) // 4)
