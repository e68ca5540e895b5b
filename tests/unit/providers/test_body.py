"""The bytes of a request: stable history, cache marks that move."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.providers.body import encode_body, thinking_for
from roost.providers.cards import model_card
from roost.wire.messages import Message, ModelCard
from tests.messages_server import ADAPTIVE, BUDGETED, MODELS
from tests.unit.providers.asking import BASH, assistant, request, user

MARK = b',"cache_control":{"type":"ephemeral"}'

texts = st.text(min_size=1)
text_blocks = texts.map(lambda words: {"type": "text", "text": words})
call_blocks = texts.map(
    lambda words: {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": words}}
)
thought_blocks = texts.map(lambda words: {"type": "thinking", "thinking": words, "signature": "s"})
user_messages = st.lists(text_blocks, min_size=1, max_size=3).map(lambda blocks: user(*blocks))
replies = st.lists(text_blocks | call_blocks | thought_blocks, min_size=1, max_size=3).map(
    lambda blocks: assistant(*blocks)
)
rounds = st.lists(st.tuples(user_messages, replies), min_size=1, max_size=6)


def messages_part(body: bytes) -> bytes:
    """What stands for the history, without marks."""
    return body.partition(b'"messages":[')[2].removesuffix(b"]}").replace(MARK, b"")


@given(rounds, user_messages)
def test_each_request_is_a_prefix_of_the_next_but_for_the_marks(
    history: list[tuple[Message, Message]], last: Message
) -> None:
    said = [message for pair in history for message in pair]
    before = messages_part(encode_body(request(*said[:-1]), None))
    after = messages_part(encode_body(request(*said, last), None))
    assert after.startswith(before)
    assert orjson.loads(b"[" + after + b"]") == [
        {"role": message.role, "content": list(message.content)} for message in (*said, last)
    ]


@given(rounds, user_messages)
def test_there_are_at_most_four_marks_and_none_on_thinking(
    history: list[tuple[Message, Message]], last: Message
) -> None:
    body = encode_body(request(*(message for pair in history for message in pair), last), None)
    parsed = orjson.loads(body)
    blocks = [block for message in parsed["messages"] for block in message["content"]]
    marked = [block for block in blocks if "cache_control" in block]
    assert 1 <= len(marked) <= 3
    assert all(block["type"] != "thinking" for block in marked)
    assert "cache_control" in parsed["messages"][-1]["content"][-1]
    assert "cache_control" in parsed["system"][0]


def test_the_marks_stand_where_this_request_and_the_two_before_it_ended() -> None:
    reply = assistant({"type": "text", "text": "yes"})
    said = [message for number in range(5) for message in (user(f"question {number}"), reply)][:-1]
    parsed = orjson.loads(encode_body(request(*said), None))
    marked = [place for place, message in enumerate(parsed["messages"]) if "cache_control" in message["content"][-1]]
    assert marked == [4, 6, 8]


def test_without_a_system_prompt_the_last_tool_is_marked() -> None:
    parsed = orjson.loads(encode_body(request(user("Hello"), system="", tools=(BASH, {**BASH, "name": "read"})), None))
    assert "system" not in parsed
    assert ["cache_control" in tool for tool in parsed["tools"]] == [False, True]


def test_what_the_agent_does_not_set_is_not_sent() -> None:
    parsed = orjson.loads(encode_body(request(user("Hello"), tools=(), speed="standard"), None))
    assert parsed.keys() == {"model", "max_tokens", "stream", "system", "messages"}


@pytest.mark.parametrize(
    ("model", "max_tokens", "expected"),
    [
        (ADAPTIVE, 32_000, {"type": "adaptive"}),
        (BUDGETED, 64_000, {"type": "enabled", "budget_tokens": 16_000}),
        (BUDGETED, 4_096, {"type": "enabled", "budget_tokens": 2_048}),
        (BUDGETED, 2_000, None),
    ],
)
def test_thinking_follows_what_the_model_can_do(model: str, max_tokens: int, expected: Any) -> None:
    assert thinking_for(model_card(MODELS[model]), max_tokens) == expected


@pytest.mark.parametrize("info", [{"id": "x"}, {"id": "x", "capabilities": None}, {"id": "x", "capabilities": {}}])
def test_thinking_is_left_to_a_model_that_nothing_is_known_of(info: dict[str, Any]) -> None:
    assert thinking_for(model_card(info), 32_000) is None
    assert thinking_for(ModelCard("x", "x"), 32_000) is None


def test_words_that_look_like_a_mark_are_only_words() -> None:
    body = encode_body(request(user('","cache_control":{"type":"ephemeral"}')), None)
    assert len(re.findall(re.escape(MARK), body)) == 2
