"""The provider for Claude models, against the strict server over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roost.core.clock import SystemClock
from roost.providers.anthropic import AnthropicProvider
from roost.wire.messages import Message, ModelError
from tests.messages_server import (
    ADAPTIVE,
    BUDGETED,
    Broken,
    Ended,
    Hold,
    MessagesServer,
    Ping,
    Stall,
    StreamError,
    error,
    redacted_thinking,
    reply,
    text,
    thinking,
    tool_use,
)
from tests.messages_server.replies import Answer as Scripted
from tests.unit.providers.asking import Answer, ask, read, request, result, user

KEY = "sk-test-0123456789"


@asynccontextmanager
async def provider_of(url: str, key: str | None = KEY, **more: Any) -> AsyncIterator[AnthropicProvider]:
    provider = AnthropicProvider(key, url, **more)
    try:
        yield provider
    finally:
        await provider.close()


async def failure_of(answer: Scripted, **more: Any) -> ModelError:
    """The failure a scripted answer becomes."""
    async with MessagesServer([answer]) as server, provider_of(server.url, **more) as provider:
        with pytest.raises(ModelError) as failure:
            await ask(provider, request(user("Hello")))
    return failure.value


async def test_a_reply_arrives_whole_and_without_pings() -> None:
    script = reply(thinking("Look first."), Ping(), "I look.", tool_use("bash", {"command": "ls"}))
    async with MessagesServer([script]) as server, provider_of(server.url) as provider:
        answer = await ask(provider, request(user("Hello")))
    assert [event["type"] for event in answer.events[:1] + answer.events[-1:]] == ["message_start", "message_stop"]
    assert "ping" not in {event["type"] for event in answer.events}
    assert [block["type"] for block in answer.blocks] == ["thinking", "text", "tool_use"]
    assert answer.blocks[2]["input"] == {"command": "ls"}
    assert answer.stop_reason == "tool_use"


async def test_the_request_thinks_caches_and_carries_the_agents_choices() -> None:
    async with MessagesServer([reply("Hi.")]) as server, provider_of(server.url) as provider:
        await ask(provider, request(user("Hello"), effort="low", speed="fast", session_id="sesn_1"))
        (got,) = server.requests
    mark = {"cache_control": {"type": "ephemeral"}}
    assert got.body["thinking"] == {"type": "adaptive"}
    assert got.body["output_config"] == {"effort": "low"}
    assert got.body["speed"] == "fast"
    assert got.headers["anthropic-beta"] == "fast-mode-2026-02-01"
    assert got.headers["authorization"] == f"Bearer {KEY}"
    assert got.body["system"] == [{"type": "text", "text": "Be brief.", **mark}]
    assert got.body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Hello", **mark}]}]
    assert "sesn_1" not in got.raw.decode()


async def test_a_model_that_cannot_choose_thinks_with_a_budget() -> None:
    async with MessagesServer([reply("Hi."), reply("Hi.")]) as server, provider_of(server.url) as provider:
        await ask(provider, request(user("Hello"), model=BUDGETED))
        await ask(provider, request(user("Hello"), model=BUDGETED, max_tokens=1_000))
    assert [body.get("thinking") for body in server.bodies] == [{"type": "enabled", "budget_tokens": 16_000}, None]


async def test_ten_rounds_with_thinking_and_parallel_calls_are_accepted_and_read_from_the_cache() -> None:
    def script(got: Any) -> Scripted:
        if got.turn == 10:
            return reply("Done.")
        calls = [tool_use("bash", {"command": f"echo {number}"}) for number in range(12)]
        return reply(thinking(f"Round {got.turn}."), redacted_thinking(), "Go.", *calls)

    messages = [user("Count.")]
    answers: list[Answer] = []
    async with MessagesServer(script) as server, provider_of(server.url) as provider:
        while not answers or answers[-1].stop_reason == "tool_use":
            answers.append(await ask(provider, request(*messages)))
            calls = [block for block in answers[-1].blocks if block["type"] == "tool_use"]
            messages += [answers[-1].message, user(*[result(call, "ok") for call in calls])]
    assert answers[-1].text == "Done."
    written = 0
    for answer in answers:
        assert answer.usage["cache_read_input_tokens"] == written
        assert answer.usage["input_tokens"] == 0
        written += answer.usage["cache_creation_input_tokens"]


async def test_a_paused_turn_is_asked_on() -> None:
    async with (
        MessagesServer([reply("Wait.", stop_reason="pause_turn"), reply("Done.")]) as server,
        provider_of(server.url) as provider,
    ):
        paused = await ask(provider, request(user("Search.")))
        answer = await ask(provider, request(user("Search."), paused.message))
    assert paused.stop_reason == "pause_turn"
    assert answer.text == "Done."


async def test_refusal_details_and_other_stop_reasons_pass_through() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    script = [
        reply("I cannot", stop_reason="refusal", stop_details=details),
        reply(tool_use("bash", {"command": "cat > a << E"}, cut=True)),
        reply("Too long", stop_reason="model_context_window_exceeded"),
    ]
    async with MessagesServer(script) as server, provider_of(server.url) as provider:
        refused, cut, full = [await ask(provider, request(user("Hello"))) for _ in script]
    assert (refused.stop_reason, refused.stop_details) == ("refusal", details)
    assert cut.stop_reason == "max_tokens"
    assert isinstance(cut.blocks[0]["input"], str)
    assert full.stop_reason == "model_context_window_exceeded"


# --- failures --------------------------------------------------------------------------------------------------------

HTTP_FAILURES = [
    (529, "overloaded_error", "Overloaded", "overloaded"),
    (500, "overloaded_error", "Overloaded", "overloaded"),
    (429, "rate_limit_error", "Slow down", "rate_limited"),
    (408, "timeout_error", "Too slow", "unavailable"),
    (409, "conflict_error", "Again", "unavailable"),
    (500, "api_error", "Internal", "unavailable"),
    (503, "api_error", "Down", "unavailable"),
    (401, "authentication_error", "invalid key", "authentication"),
    (403, "permission_error", "not yours", "authentication"),
    (402, "billing_error", "pay", "billing"),
    (400, "billing_error", "pay", "billing"),
    (400, "invalid_request_error", "Your credit balance is too low to access the API", "billing"),
    (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", "context_overflow"),
    (400, "invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2", "context_overflow"),
    (400, "invalid_request_error", "tools.0.name: bad", "request_failed"),
    (404, "not_found_error", "model: x", "request_failed"),
    (413, "request_too_large", "too large", "request_failed"),
]


@pytest.mark.parametrize(("status", "type", "message", "kind"), HTTP_FAILURES)
async def test_each_http_error_has_its_kind(status: int, type: str, message: str, kind: str) -> None:
    failure = await failure_of(error(status, type, message))
    assert (failure.kind, failure.status) == (kind, status)
    assert message in failure.message


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("overloaded_error", "overloaded"),
        ("api_error", "unavailable"),
        ("rate_limit_error", "rate_limited"),
        ("made_up_error", "unavailable"),
    ],
)
async def test_an_error_inside_the_stream_has_the_kind_of_its_type(type: str, kind: str) -> None:
    failure = await failure_of(reply("Half", StreamError(type, "it broke")))
    assert (failure.kind, failure.message) == (kind, "it broke")


@pytest.mark.parametrize("part", [Broken(), Ended()])
async def test_a_stream_that_ends_early_is_unavailable(part: Broken | Ended) -> None:
    failure = await failure_of(reply(text("Half", part, "whole")))
    assert failure.kind == "unavailable"


async def test_a_stream_that_falls_silent_is_unavailable() -> None:
    failure = await failure_of(reply("Half", Stall()), stall_s=0.2)
    assert (failure.kind, failure.message) == ("unavailable", "The model at 127.0.0.1 sent nothing for too long.")


async def test_a_stream_of_something_else_than_json_is_unavailable() -> None:
    failure = await failure_of(error(200, "", body="data: <html>\n\n"))
    assert failure.kind == "unavailable"


async def test_an_error_page_of_a_proxy_becomes_a_plain_message() -> None:
    failure = await failure_of(error(502, "", body="<html>bad gateway</html>"))
    assert (failure.kind, failure.message) == ("unavailable", "The model answered HTTP 502.")


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with MessagesServer([]) as server:
        url = server.url
    async with provider_of(url) as provider:
        with pytest.raises(ModelError, match=r"The model at 127\.0\.0\.1 failed: ConnectError") as failure:
            await ask(provider, request(user("Hello")))
    assert failure.value.kind == "unavailable"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({}, None),
    ],
)
async def test_the_wait_the_api_asks_for_is_read(headers: Mapping[str, str], seconds: float | None) -> None:
    failure = await failure_of(error(429, "rate_limit_error", headers=headers))
    assert failure.retry_after_s == seconds


async def test_a_wait_given_as_a_date_is_counted_from_now() -> None:
    headers = {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}
    failure = await failure_of(error(503, "api_error", headers=headers), clock=SystemClock())
    assert failure.retry_after_s is not None
    assert failure.retry_after_s > 1_000_000


@pytest.mark.parametrize("key", [None, "", "  ", "sk-1\nsk-2", "schlüssel"])
async def test_without_a_usable_key_nothing_is_sent_and_the_message_says_what_to_set(key: str | None) -> None:
    async with MessagesServer([]) as server, provider_of(server.url, key) as provider:
        with pytest.raises(ModelError, match="ANTHROPIC_API_KEY") as failure:
            await ask(provider, request(user("Hello")))
        with pytest.raises(ModelError, match="ANTHROPIC_API_KEY"):
            await provider.models()
        assert (await provider.limits(ADAPTIVE)).max_output_tokens == 32_000
    assert failure.value.kind == "authentication"
    assert server.requests == []


async def test_a_refused_key_is_never_repeated() -> None:
    failure = await failure_of(error(401, "authentication_error", f"invalid key: {KEY}"))
    assert KEY not in str(failure) + repr(failure)
    assert "invalid key: [key]" in failure.message
    assert "ANTHROPIC_API_KEY" in failure.message


# --- connections -----------------------------------------------------------------------------------------------------


async def test_closing_the_stream_closes_the_connection() -> None:
    gate = asyncio.Event()
    async with MessagesServer([reply("Half", Hold(gate), "whole")]) as server, provider_of(server.url) as provider:
        reading = asyncio.create_task(read(provider.stream(request(user("Hello"))), Answer()))
        got = await server.asked(1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(10):
            await got.hung_up.wait()


async def test_a_session_keeps_its_connection() -> None:
    async with MessagesServer(lambda got: reply("Hi.")) as server, provider_of(server.url) as provider:
        for _ in range(5):
            await ask(provider, request(user("Hello"), session_id="sesn_1"))
        assert len({got.client for got in server.requests}) == 1


async def test_many_sessions_are_answered_side_by_side() -> None:
    gate = asyncio.Event()
    async with MessagesServer(lambda got: reply(Hold(gate), "Hi.")) as server, provider_of(server.url) as provider:
        asks = [
            asyncio.create_task(ask(provider, request(user("Hello"), session_id=f"sesn_{number}")))
            for number in range(120)
        ]
        await server.asked(120)
        gate.set()
        answers = await asyncio.gather(*asks)
    assert {answer.text for answer in answers} == {"Hi."}


# --- models ----------------------------------------------------------------------------------------------------------


async def test_models_and_limits_come_from_the_api_once() -> None:
    async with MessagesServer([]) as server, provider_of(server.url) as provider:
        cards = await provider.models()
        limits = await provider.limits(ADAPTIVE)
        older = await provider.limits(BUDGETED)
        unknown = await provider.limits("claude-none")
        assert server.gets == ["/v1/models", "/v1/models/claude-none"]
    assert [card.id for card in cards] == [ADAPTIVE, BUDGETED]
    assert cards[0].info is not None
    assert cards[0].info["line"] == "opus"
    assert (limits.max_output_tokens, limits.context_window) == (128_000, 200_000)
    assert limits.mid_conversation_system
    assert not older.mid_conversation_system
    assert unknown.max_output_tokens == 32_000


async def test_limits_fall_back_where_the_api_cannot_be_asked() -> None:
    async with MessagesServer([]) as server:
        url = server.url
    async with provider_of(url) as provider:
        assert (await provider.limits(ADAPTIVE)).max_output_tokens == 32_000
        with pytest.raises(ModelError):
            await provider.models()


async def test_the_systems_words_in_the_middle_are_accepted() -> None:
    note = Message("system", ({"type": "text", "text": "Hurry."},))
    async with MessagesServer([reply("Hi.")]) as server, provider_of(server.url) as provider:
        answer = await ask(provider, request(user("Hello"), note))
    assert answer.text == "Hi."
