"""A model's stream becomes a reply, its preview, and the events that record it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import pytest

from roost.harness.reply import Reply, ReplyReader
from roost.store.bus import LocalBus
from roost.store.protocols import EventDraft, preview_topic
from roost.wire.messages import Block, ModelError
from tests.rig.logbook import TOOLS
from tests.rig.stream import USAGE, call, stream, text, thinking


def read(events: Iterable[Mapping[str, Any]]) -> Reply:
    reader = ReplyReader("sesn_1", LocalBus())
    for event in events:
        reader.feed(event)
    return reader.finish()


def recorded(*blocks: Block, **ending: Any) -> list[dict[str, Any]]:
    return [wire(made) for made in read(stream(*blocks, **ending)).drafts("sevt_span", TOOLS)]


def wire(made: EventDraft) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads(made.head + b"null}")
    return event


def names(events: Iterable[Mapping[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_reply_is_recorded_in_the_order_the_model_gave_it() -> None:
    blocks = (thinking("What now?"), text("Let me see"), call("t1", "bash", command="ls"), call("t2", "look", at="it"))
    events = recorded(*blocks, stop_reason="tool_use")
    assert names(events) == [
        "agent.thinking",
        "agent.message",
        "agent.tool_use",
        "agent.custom_tool_use",
        "span.model_request_end",
    ]
    assert events[1]["content"] == [text("Let me see")]
    assert (events[2]["name"], events[2]["input"]) == ("bash", {"command": "ls"})
    assert (events[3]["name"], events[3]["input"]) == ("look", {"at": "it"})
    assert events[4]["model_request_start_id"] == "sevt_span"
    assert events[4]["model_usage"] == {**USAGE, "speed": None}
    assert "What now?" not in orjson.dumps(events).decode()


def test_the_whole_reply_is_kept_where_no_client_sees_it() -> None:
    blocks = (thinking("What now?"), text("Let me see"), call("t1", "bash", command="ls"))
    reply = read(stream(*blocks, stop_reason="tool_use"))
    *events, end = reply.drafts("sevt_span", TOOLS)
    assert end.private is not None
    kept = orjson.loads(end.private)
    assert kept["content"] == list(blocks)
    assert kept["calls"] == {events[-1].id: "t1"}
    assert kept["stop_reason"] == "tool_use"


def test_calls_carry_the_permission_and_the_policy_that_gave_it() -> None:
    events = recorded(call("t1", "bash"), call("t2", "write"), call("t3", "grep"), stop_reason="tool_use")
    judged = [(event["evaluated_permission"], event["evaluation"]) for event in events[:3]]
    assert judged == [("allow", {"type": "always_allow"}), ("ask", {"type": "always_ask"}), ("deny", None)]


def test_texts_that_follow_each_other_are_one_message() -> None:
    events = recorded(text("One"), text("Two"), thinking("What now?"), text("Three"))
    assert names(events) == ["agent.message", "agent.thinking", "agent.message", "span.model_request_end"]
    assert [block["text"] for block in events[0]["content"]] == ["One", "Two"]


def test_empty_text_is_neither_recorded_nor_sent_back() -> None:
    reply = read(stream(text(" \n"), text("Hi")))
    assert [opened.block for opened in reply.blocks] == [text("Hi")]


def test_a_call_without_input_has_an_empty_one() -> None:
    block = {"type": "tool_use", "id": "t1", "name": "bash", "input": {}}
    bare = [event for event in stream(block, stop_reason="tool_use") if event["type"] != "content_block_delta"]
    assert read(bare).blocks[0].block["input"] == {}


def test_a_call_whose_input_is_no_json_is_a_broken_reply() -> None:
    events = [*stream(call("t1", "bash", command="ls"), stop_reason="tool_use")]
    delta = next(event for event in events if event["type"] == "content_block_delta")
    delta["delta"]["partial_json"] = "["
    with pytest.raises(ModelError) as failure:
        read(events)
    assert failure.value.retryable


@pytest.mark.parametrize("name", ["write", "bash"])
def test_a_call_that_the_limit_cut_off_is_dropped(name: str) -> None:
    reply = read(stream(text("Now"), call("t1", name, content="x"), stop_reason="max_tokens", cut=True))
    assert reply.cut_off
    assert [opened.block["type"] for opened in reply.blocks] == ["text"]


def test_a_whole_call_at_the_limit_is_kept() -> None:
    reply = read(stream(call("t1", "write", content="x"), stop_reason="max_tokens"))
    assert not reply.cut_off
    assert reply.blocks[0].block["input"] == {"content": "x"}


def test_text_that_the_limit_cut_off_is_kept_as_far_as_it_came() -> None:
    reply = read(stream(text("Half of it"), stop_reason="max_tokens", cut=True))
    assert not reply.cut_off
    assert [opened.block for opened in reply.blocks] == [text("Half ")]


def test_a_refusal_runs_no_calls() -> None:
    reply = read(stream(text("I will"), call("t1", "bash"), stop_reason="refusal"))
    assert [opened.block["type"] for opened in reply.blocks] == ["text"]


def test_an_overflowing_context_is_a_failure_that_a_retry_cannot_cure() -> None:
    with pytest.raises(ModelError) as failure:
        read(stream(text("Hi"), stop_reason="model_context_window_exceeded"))
    assert failure.value.kind == "context_overflow"
    assert not failure.value.retryable


def test_later_counts_replace_earlier_ones_and_null_counts_for_nothing() -> None:
    reader = ReplyReader("sesn_1", LocalBus())
    reader.feed({"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}})
    reader.feed({"type": "message_delta", "delta": {}, "usage": {"input_tokens": None, "output_tokens": 9}})
    assert reader.usage == {"input_tokens": 3, "output_tokens": 9}


# --- previews --------------------------------------------------------------------------------------------------------


async def previewed(*blocks: Block) -> tuple[list[dict[str, Any]], Reply]:
    bus = LocalBus()
    reader = ReplyReader("sesn_1", bus)
    async with bus.subscribe(preview_topic("sesn_1")) as listener:
        for event in stream(*blocks):
            reader.feed(event)
        return [orjson.loads(frame) for frame in listener.take()], reader.finish()


async def test_a_preview_announces_the_id_that_the_message_will_have() -> None:
    frames, reply = await previewed(text("Hello"))
    message, _ = (wire(made) for made in reply.drafts("sevt_span", TOOLS))
    assert frames[0] == {"type": "event_start", "event": {"type": "agent.message", "id": message["id"]}}
    assert [frame["event_id"] for frame in frames[1:]] == [message["id"]] * 2
    assert "".join(frame["delta"]["content"]["text"] for frame in frames[1:]) == "Hello"


async def test_thinking_is_announced_and_never_shown() -> None:
    frames, _ = await previewed(thinking("What now?"), text("Hi"))
    assert [frame["type"] for frame in frames] == ["event_start", "event_start", "event_delta", "event_delta"]
    assert "What now?" not in orjson.dumps(frames).decode()


async def test_texts_of_one_message_have_indexes_without_a_gap() -> None:
    frames, _ = await previewed(text("One"), text("Two"))
    assert [frame["delta"]["index"] for frame in frames[1:]] == [0, 0, 1, 1]


async def test_calls_are_not_previewed() -> None:
    frames, _ = await previewed(call("t1", "bash", command="ls"))
    assert frames == []
