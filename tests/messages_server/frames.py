"""A reply as stream events, in the API's own framing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from tests.messages_server.replies import (
    Control,
    Part,
    Ping,
    RedactedThinking,
    Reply,
    ServerToolUse,
    StreamError,
    Text,
    Thinking,
    ToolUse,
    redacted_data_of,
    signature_of,
    thinking_seal,
)

Frame = bytes | Control


def frame(type: str, **fields: Any) -> bytes:
    return f"event: {type}\ndata: ".encode() + orjson.dumps({"type": type, **fields}) + b"\n\n"


def frames_of(reply: Reply, body: Mapping[str, Any], usage: Mapping[str, Any]) -> Iterator[Frame]:
    """Bytes to send and controls to obey, in order. Ids follow from the place in the conversation alone."""
    place = len(body["messages"])
    counted = {**usage, **reply.usage}
    message = {
        "id": f"msg_{place:04d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**counted, "output_tokens": 1, "service_tier": "standard"},
    }
    yield frame("message_start", message=message)
    yield frame("ping")
    said = 0
    thoughts: list[Mapping[str, Any]] = []
    index = 0
    for part in reply.parts:
        if isinstance(part, Control):
            yield _control(part)
            continue
        yield from _block_frames(part, index, place, thoughts)
        said += _length(part)
        index += 1
    output = {"output_tokens": -(-said // 4), **reply.usage}
    delta = {"stop_reason": reply.stop_reason, "stop_sequence": None, "stop_details": reply.stop_details}
    yield frame("message_delta", delta=delta, usage={**_without_creation(usage), **_without_creation(output)})
    yield frame("message_stop")


def _without_creation(usage: Mapping[str, Any]) -> dict[str, Any]:
    """The counters that `message_delta` repeats: all but the breakdown by lifetime."""
    return {name: count for name, count in usage.items() if name != "cache_creation"}


def _length(part: Part) -> int:
    match part:
        case Text():
            return sum(len(piece) for piece in part.pieces if isinstance(piece, str))
        case Thinking():
            return len(part.text)
        case ToolUse() | ServerToolUse():
            return len(orjson.dumps(part.input))
    return 0


def _control(control: Control) -> Frame:
    if isinstance(control, Ping):
        return frame("ping")
    if isinstance(control, StreamError):
        return frame("error", error={"type": control.type, "message": control.message})
    return control


def _block_frames(part: Part, index: int, place: int, thoughts: list[Mapping[str, Any]]) -> Iterator[Frame]:
    """A block from its start to its end; `thoughts` gathers what was thought in this reply so far."""
    start, deltas = _streamed(part, f"{place:04d}{index:02d}", thinking_seal(thoughts))
    if isinstance(part, Thinking):
        thoughts.append({"signature": deltas[-1]["signature"]})
    elif isinstance(part, RedactedThinking):
        thoughts.append(start)
    yield frame("content_block_start", index=index, content_block=start)
    for delta in deltas:
        if isinstance(delta, Control):
            yield _control(delta)
        else:
            yield frame("content_block_delta", index=index, delta=delta)
    yield frame("content_block_stop", index=index)


def _streamed(part: Part, number: str, seal: str) -> tuple[dict[str, Any], list[Any]]:
    """How a block begins, and its deltas."""
    match part:
        case Text():
            pieces = [
                {"type": "text_delta", "text": piece} if isinstance(piece, str) else piece for piece in part.pieces
            ]
            return {"type": "text", "text": ""}, pieces
        case Thinking():
            signature = part.signature or signature_of(part.text)
            said = [{"type": "thinking_delta", "thinking": part.text}] if part.text else []
            start = {"type": "thinking", "thinking": "", "signature": ""}
            return start, [*said, {"type": "signature_delta", "signature": signature}]
        case RedactedThinking():
            return {"type": "redacted_thinking", "data": redacted_data_of(part.name)}, []
        case ToolUse():
            call: dict[str, Any] = {
                "type": "tool_use",
                "id": part.id or f"toolu_{number}_{seal}",
                "name": part.name,
                "input": {},
            }
            return call, _input_deltas(part.input, part.cut)
        case ServerToolUse():
            call = {"type": "server_tool_use", "id": f"srvtoolu_{number}", "name": part.name, "input": {}}
            return call, _input_deltas(part.input, cut=False)
        case _:
            raise TypeError(f"{part!r} is no block")


def _input_deltas(input: Mapping[str, Any], cut: bool) -> list[dict[str, Any]]:
    whole = orjson.dumps(input).decode()
    middle = len(whole) // 2
    pieces = ["", whole[:middle]] if cut else ["", whole[:middle], whole[middle:]]
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
