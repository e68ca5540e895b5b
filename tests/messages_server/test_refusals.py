"""What the strict server refuses, one rule at a time, from a request that it takes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.messages_server import BUDGETED, Refusal, signature_of
from tests.messages_server.replies import redacted_data_of, thinking_seal
from tests.messages_server.rules import check_headers, check_request

HEADERS = {"authorization": "Bearer key", "anthropic-version": "2026-10-21"}

THOUGHT = {"type": "thinking", "thinking": "Look first.", "signature": signature_of("Look first.")}
SEALED = f"toolu_000102_{thinking_seal([THOUGHT])}"


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def result(call: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call, "content": [text("a.txt")], **more}


def call(call_id: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "bash", "input": {"command": "ls"}}


def body() -> dict[str, Any]:
    """A request with everything in it: thinking, two parallel calls and their results, marks, a system message."""
    return {
        "model": "claude-opus-5",
        "max_tokens": 32_000,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "system": [text("Be brief.", cache_control={"type": "ephemeral"})],
        "tools": [{"name": "bash", "description": "runs", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [
            {"role": "user", "content": [text("List the files.")]},
            {"role": "assistant", "content": [THOUGHT, text("I look."), call(SEALED), call("toolu_b")]},
            {"role": "user", "content": [result("toolu_b"), result(SEALED), text("Also this.")]},
            {"role": "system", "content": [text("The user is in a hurry.", cache_control={"type": "ephemeral"})]},
        ],
    }


def test_a_complete_request_is_taken() -> None:
    check_request(HEADERS, body())


def test_a_string_stands_for_one_text_block() -> None:
    asked = body()
    asked["messages"] = [{"role": "user", "content": "Hello"}]
    asked["system"] = "Be brief."
    check_request(HEADERS, asked)


Change = Callable[[dict[str, Any]], object]


def _at(*path: str | int) -> Callable[[Any], Any]:
    def find(value: Any) -> Any:
        for name in path:
            value = value[name]
        return value

    return find


def _set(*path: str | int, to: Any) -> Change:
    return lambda asked: _at(*path[:-1])(asked).__setitem__(path[-1], to)


def _del(*path: str | int) -> Change:
    return lambda asked: _at(*path[:-1])(asked).__delitem__(path[-1])


def _insert(*path: str | int, what: Any) -> Change:
    return lambda asked: _at(*path[:-1])(asked).insert(path[-1], what)


MARKED = {"cache_control": {"type": "ephemeral"}}
USER = ("messages", 0, "content")
ASSISTANT = ("messages", 1, "content")
RESULTS = ("messages", 2, "content")

REFUSED: dict[str, tuple[Change, str]] = {
    "unknown field": (_set("temperature_hint", to=1), "temperature_hint: Extra inputs"),
    "unknown nested field": (_set(*USER, 0, "note", to="x"), "messages.0.content.0.note: Extra inputs"),
    "unknown field in a tool": (_set("tools", 0, "timeout", to=1), "tools.0.timeout: Extra inputs"),
    "unknown block": (_set(*USER, 0, "type", to="gif"), "messages.0.content.0: Input tag 'gif'"),
    "wrong type": (_set("max_tokens", to="many"), "max_tokens: Input should be a valid integer"),
    "true as a number": (_set("max_tokens", to=True), "max_tokens: Input should be a valid integer"),
    "missing max_tokens": (_del("max_tokens"), "max_tokens: Field required"),
    "missing signature": (_del(*ASSISTANT, 0, "signature"), "messages.1.content.0.signature: Field required"),
    "field of a header": (_set("betas", to=["x"]), "betas: Extra inputs"),
    "unknown effort": (_set("output_config", "effort", to="huge"), "output_config.effort: Input should be"),
    "budget with adaptive": (_set("thinking", "budget_tokens", to=2048), "thinking.budget_tokens: Extra inputs"),
    "unknown role": (_set("messages", 0, "role", to="tool"), "messages.0: Input tag 'tool'"),
    "no max_tokens left": (_set("max_tokens", to=0), "max_tokens: 0 is not from 1"),
    "too many max_tokens": (_set("max_tokens", to=128_001), "max_tokens: 128001 is not from 1"),
    "manual thinking": (
        _set("thinking", to={"type": "enabled", "budget_tokens": 2_000}),
        '"thinking.type.enabled" is not supported',
    ),
    "speed without its beta": (_set("speed", to="fast"), "speed: Extra inputs"),
    "same tool twice": (lambda asked: asked["tools"].append(asked["tools"][0]), "tools: Tool names must be unique"),
    "odd tool name": (_set("tools", 0, "name", to="a b"), "tools.0.name: String should match"),
    "schema of no object": (_set("tools", 0, "input_schema", "type", to="array"), "tools.0.input_schema"),
    "no message": (_set("messages", to=[]), "messages: at least one message"),
    "assistant first": (_del("messages", 0), "messages.0: first message must use the `user` role"),
    "system first": (_insert("messages", 0, what={"role": "system", "content": "x"}), "messages.0: first message"),
    "two system messages": (
        _insert("messages", 4, what={"role": "system", "content": "x"}),
        "messages.3: a `system` message must be last",
    ),
    "system between user messages": (
        _insert("messages", 4, what={"role": "user", "content": "x"}),
        "messages.3: a `system` message must be last",
    ),
    "system after the assistant": (
        lambda asked: asked["messages"].insert(2, asked["messages"].pop()),
        "messages.2: a `system` message must follow",
    ),
    "prefill": (_insert("messages", 4, what={"role": "assistant", "content": "So"}), "does not support assistant"),
    "empty content": (_set(*USER, to=[]), "messages.0: all messages must have non-empty content"),
    "empty string": (_set(*USER, to=""), "messages.0.content.0: text content blocks must be non-empty"),
    "empty text": (_set(*USER, 0, "text", to=""), "messages.0.content.0: text content blocks must be non-empty"),
    "blank text": (_set(*USER, 0, "text", to=" \n"), "messages.0.content.0: text content blocks must contain"),
    "empty system": (_set("system", 0, "text", to=""), "system.0: text content blocks must be non-empty"),
    "empty text in a result": (
        _set(*RESULTS, 0, "content", 0, "text", to=""),
        "messages.2.content.0.content.0: text content blocks must be non-empty",
    ),
    "error result without words": (_set(*RESULTS, 0, to=result("toolu_b", content=[], is_error=True)), "is_error"),
    "unanswered call": (_del(*RESULTS, 0), "messages.1: `tool_use` ids were found without `tool_result`"),
    "calls at the end": (lambda asked: asked["messages"].__delitem__(slice(2, None)), "does not support assistant"),
    "unknown result": (_set(*RESULTS, 0, to=result("toolu_x")), "messages.2: unexpected `tool_use_id`"),
    "result twice": (_insert(*RESULTS, 0, what=result("toolu_b")), "messages.2: each tool_use must have a single"),
    "result after text": (
        _insert(*RESULTS, 0, what=text("First.")),
        "messages.2: `tool_result` blocks must come first",
    ),
    "call id twice": (_set(*ASSISTANT, 2, "id", to="toolu_b"), "messages.1: `tool_use` ids must be unique"),
    "odd call id": (_set(*ASSISTANT, 3, "id", to="a b"), "messages.1.content.3: `id` and `name`"),
    "call by the user": (_insert(*USER, 0, what=call("toolu_z")), "messages.0.content.0: `tool_use` blocks may not"),
    "thinking last": (_set(*ASSISTANT, to=[text("x"), THOUGHT]), "final block in an assistant message cannot be"),
    "changed thinking": (_set(*ASSISTANT, 0, "thinking", to="Look."), "messages.1.content.0: Invalid `signature`"),
    "changed signature": (_set(*ASSISTANT, 0, "signature", to="x"), "messages.1.content.0: Invalid `signature`"),
    "lost thinking": (_del(*ASSISTANT, 0), "messages.1.content.1: Expected `thinking` or `redacted_thinking`"),
    "made-up redaction": (
        _insert(*ASSISTANT, 0, what={"type": "redacted_thinking", "data": "x.y"}),
        "messages.1.content.0: Invalid `data`",
    ),
    "five marks": (
        lambda asked: [block.update(MARKED) for block in (asked["tools"][0], *_at(*RESULTS)(asked))],
        "A maximum of 4 blocks with cache_control",
    ),
    "a fifth mark inside a result": (
        lambda asked: [
            block.update(MARKED)
            for block in (asked["tools"][0], _at(*RESULTS, 0)(asked), _at(*RESULTS, 1, "content", 0)(asked))
        ],
        "A maximum of 4 blocks with cache_control may be provided. Found 5",
    ),
    "mark on thinking": (_set(*ASSISTANT, 0, "cache_control", to={"type": "ephemeral"}), "cache_control: Extra inputs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_real_api_refuses_is_refused(name: str) -> None:
    change, words = REFUSED[name]
    asked = copy.deepcopy(body())
    change(asked)
    with pytest.raises(Refusal) as refused:
        check_request(HEADERS, asked)
    assert words in str(refused.value)
    assert refused.value.status == 400
    assert refused.value.type == "invalid_request_error"


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(Refusal, match="model: gpt") as refused:
        check_request(HEADERS, {**body(), "model": "gpt"})
    assert (refused.value.status, refused.value.type) == (404, "not_found_error")


def test_an_older_model_thinks_with_a_budget_and_knows_no_effort() -> None:
    asked = {**body(), "model": BUDGETED, "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    with pytest.raises(Refusal, match="does not support the effort"):
        check_request(HEADERS, asked)
    del asked["output_config"]
    check_request(HEADERS, asked)
    with pytest.raises(Refusal, match="greater than"):
        check_request(HEADERS, {**asked, "thinking": {"type": "enabled", "budget_tokens": 32_000}})
    with pytest.raises(Refusal, match="adaptive"):
        check_request(HEADERS, {**asked, "thinking": {"type": "adaptive"}})


def test_thinking_may_be_dropped_once_the_user_has_spoken_again() -> None:
    asked = body()
    del asked["messages"][1]["content"][0]
    asked["messages"][3:] = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks."}]
    check_request(HEADERS, asked)


def test_redacted_thinking_comes_back_as_it_was() -> None:
    asked = body()
    asked["messages"][1]["content"][0] = {"type": "redacted_thinking", "data": redacted_data_of("x")}
    asked["messages"][1]["content"][2]["id"] = "toolu_b2"
    asked["messages"][2]["content"][1]["tool_use_id"] = "toolu_b2"
    check_request(HEADERS, asked)


def test_fast_mode_needs_its_beta_header() -> None:
    check_request({**HEADERS, "anthropic-beta": "fast-mode-2026-02-01"}, {**body(), "speed": "fast"})


def test_a_paused_turn_goes_on_from_the_models_words() -> None:
    asked = body()
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    asked["messages"].append({"role": "assistant", "content": [text("Let me search."), search]})
    check_request(HEADERS, asked)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"anthropic-version": "2023-06-01"}, "x-api-key header is required"),
        ({"authorization": "Bearer key"}, "anthropic-version: header is required"),
        ({**HEADERS, "anthropic-beta": "made-up-2026-01-01"}, "Unexpected value"),
    ],
)
def test_headers_are_checked(headers: dict[str, str], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        check_headers(headers)
