"""The strict server over a socket, read with the official SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anthropic
import httpx2
import pytest

from tests.messages_server import (
    ADAPTIVE,
    Delay,
    Ended,
    Hold,
    MessagesProcess,
    MessagesServer,
    Refusal,
    Reply,
    Request,
    Stall,
    by_turn,
    dump_answers,
    error,
    load_answers,
    redacted_thinking,
    reply,
    text,
    thinking,
    tool_use,
)

TOOLS: list[Any] = [{"name": "bash", "input_schema": {"type": "object"}}]
HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
MARK: Any = {"type": "ephemeral"}


@asynccontextmanager
async def client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key="key", base_url=url, max_retries=0) as made:
        yield made


async def ask(url: str, messages: list[Any] = HELLO, **more: Any) -> anthropic.types.Message:
    asked: dict[str, Any] = {"model": ADAPTIVE, "max_tokens": 4_000, "messages": messages, "tools": TOOLS, **more}
    async with client(url) as sdk, sdk.messages.stream(**asked) as stream:
        return await stream.get_final_message()


async def test_the_sdk_reads_a_reply_with_every_kind_of_block() -> None:
    answer = reply(
        thinking("Look first."),
        redacted_thinking(),
        "I look.",
        tool_use("bash", {"command": "ls"}),
        tool_use("bash", {"command": "pwd"}),
    )
    async with MessagesServer([answer]) as server:
        message = await ask(server.url, thinking={"type": "adaptive"})
    assert [block.type for block in message.content] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert message.stop_reason == "tool_use"
    assert [block.input for block in message.content if block.type == "tool_use"] == [
        {"command": "ls"},
        {"command": "pwd"},
    ]
    assert message.content[2].type == "text"
    assert message.content[2].text == "I look."


async def test_what_the_server_said_is_taken_back_and_what_was_changed_is_not() -> None:
    answers = [reply(thinking("Look first."), tool_use("bash", {"command": "ls"})), reply("Two files.")]
    async with MessagesServer(answers, expect_refusals=True) as server:
        first = await ask(server.url, thinking={"type": "adaptive"})
        said = [block.model_dump(mode="json", exclude_none=True) for block in first.content]
        result = {"type": "tool_result", "tool_use_id": said[1]["id"], "content": "a b"}
        history = [*HELLO, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
        forgetful = [*HELLO, {"role": "assistant", "content": said[1:]}, {"role": "user", "content": [result]}]
        with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
            await ask(server.url, forgetful, thinking={"type": "adaptive"})
        second = await ask(server.url, history, thinking={"type": "adaptive"})
    assert second.stop_reason == "end_turn"
    assert len(server.refusals) == 1


async def test_an_unexpected_refusal_fails_the_test() -> None:
    async def careless_test() -> None:
        async with MessagesServer([reply("Hello")]) as server:
            with suppress(anthropic.BadRequestError):
                await ask(server.url, max_tokens=0)

    with pytest.raises(AssertionError, match="the model server refused a request: max_tokens"):
        await careless_test()


async def test_a_script_that_has_run_out_is_a_refusal() -> None:
    async with MessagesServer([], expect_refusals=True) as server:
        with pytest.raises(anthropic.BadRequestError, match="no further reply"):
            await ask(server.url)


async def test_an_http_error_carries_its_envelope_and_headers() -> None:
    async with MessagesServer([error(529, "overloaded_error", "Overloaded", {"retry-after": "7"})]) as server:
        with pytest.raises(anthropic.APIStatusError) as failure:
            await ask(server.url)
    assert failure.value.status_code == 529
    assert failure.value.response.headers["retry-after"] == "7"
    assert failure.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_test",
    }


async def test_a_hold_keeps_the_reply_back_until_its_event() -> None:
    gate = asyncio.Event()
    async with (
        MessagesServer([reply(text("Hel", Hold(gate), "lo"))]) as server,
        client(server.url) as sdk,
        sdk.messages.stream(model=ADAPTIVE, max_tokens=100, messages=HELLO) as stream,
    ):
        pieces = stream.text_stream
        assert await anext(pieces) == "Hel"
        gate.set()
        assert await anext(pieces) == "lo"


async def test_a_client_that_leaves_a_stalled_reply_is_noticed() -> None:
    async with MessagesServer([reply("Hel", Stall())]) as server, client(server.url) as sdk:
        async with sdk.messages.stream(model=ADAPTIVE, max_tokens=100, messages=HELLO) as stream:
            await anext(stream.text_stream)
        async with asyncio.timeout(10):
            await server.requests[0].hung_up.wait()


async def test_a_stalled_reply_does_not_keep_the_server_from_closing() -> None:
    async with MessagesServer([reply(Stall())]) as server:
        asking = asyncio.create_task(ask(server.url))
        await server.asked(1)
    with pytest.raises(httpx2.RemoteProtocolError):
        await asking


def history(turns: int) -> list[Any]:
    """A conversation of so many turns whose last block carries a cache mark."""
    messages: list[Any] = []
    for turn in range(turns):
        messages += [{"role": "user", "content": [{"type": "text", "text": f"Question {turn}"}]}]
        messages += [{"role": "assistant", "content": [{"type": "text", "text": f"Answer {turn}"}]}]
    messages.pop()
    messages[-1]["content"][0]["cache_control"] = MARK
    return messages


async def test_the_cache_reads_what_an_earlier_request_marked() -> None:
    async with MessagesServer(lambda request: reply("Yes.")) as server:
        first = (await ask(server.url, history(1))).usage
        again = (await ask(server.url, history(1))).usage
        longer = (await ask(server.url, history(2))).usage
        other = (await ask(server.url, history(2), tools=[])).usage
    assert (first.cache_read_input_tokens, first.input_tokens) == (0, 0)
    assert again.cache_read_input_tokens == first.cache_creation_input_tokens
    assert again.cache_creation_input_tokens == 0
    assert longer.cache_read_input_tokens == first.cache_creation_input_tokens
    assert (longer.cache_creation_input_tokens or 0) > 0
    assert other.cache_read_input_tokens == 0


async def test_the_cache_looks_back_twenty_blocks_and_no_further() -> None:
    async with MessagesServer(lambda request: reply("Yes.")) as server:
        await ask(server.url, history(1))
        near = (await ask(server.url, history(11))).usage
    async with MessagesServer(lambda request: reply("Yes.")) as server:
        await ask(server.url, history(1))
        far = (await ask(server.url, history(12))).usage
    assert (near.cache_read_input_tokens or 0) > 0
    assert far.cache_read_input_tokens == 0


async def test_models_are_listed_and_retrieved() -> None:
    async with MessagesServer([]) as server, client(server.url) as sdk:
        listed = [model async for model in sdk.models.list()]
        one = await sdk.models.retrieve(ADAPTIVE)
        with pytest.raises(anthropic.NotFoundError):
            await sdk.models.retrieve("claude-none")
    assert one in listed
    assert one.capabilities is not None
    assert one.capabilities.thinking.types.adaptive.supported


ANSWERS = [
    reply(thinking("Hm."), tool_use("bash", {"kind": "Text", "list": [1]}), stop_reason="tool_use"),
    reply("Done."),
]


def test_answers_survive_being_written_to_a_file() -> None:
    broken = [*ANSWERS, reply(text("a", Ended(), "b"), stop_reason="refusal", stop_details={"type": "refusal"})]
    assert load_answers(dump_answers([*broken, error(500, "api_error")])) == [*broken, error(500, "api_error")]


def test_a_hold_cannot_be_written_to_a_file() -> None:
    with pytest.raises(TypeError, match="Hold"):
        dump_answers([reply(Hold(asyncio.Event()))])


def test_by_turn_answers_by_the_length_of_the_conversation() -> None:
    script = by_turn(ANSWERS)

    def asked(replies: int) -> Request:
        return Request({}, b"", {"messages": [*HELLO, *[{"role": "assistant", "content": "x"}] * replies]})

    assert [script(asked(0)), script(asked(1)), script(asked(0))] == [ANSWERS[0], ANSWERS[1], ANSWERS[0]]
    with pytest.raises(Refusal):
        script(asked(2))


def test_a_process_of_its_own_serves_records_and_reports_refusals() -> None:
    answers: list[Reply] = [reply("Hello"), reply("Again")]
    with MessagesProcess(answers, expect_refusals=True) as server:
        with anthropic.Anthropic(api_key="key", base_url=server.url, max_retries=0) as sdk:
            message = sdk.messages.create(model=ADAPTIVE, max_tokens=100, messages=HELLO, stream=True)
            kinds = [event.type for event in message]
            with pytest.raises(anthropic.BadRequestError):
                sdk.messages.create(model=ADAPTIVE, max_tokens=100, messages=[], stream=True)
        assert [body["messages"] for body in server.bodies] == [HELLO, []]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


async def test_a_delay_passes_and_a_client_that_leaves_it_is_noticed() -> None:
    async with MessagesServer([reply("Hel", Delay(0.01), "lo"), reply("Hel", Delay(60))]) as server:
        message = await ask(server.url)
        assert [block.text for block in message.content if block.type == "text"] == ["Hel", "lo"]
        async with (
            client(server.url) as sdk,
            sdk.messages.stream(model=ADAPTIVE, max_tokens=100, messages=HELLO) as stream,
        ):
            await anext(stream.text_stream)
        async with asyncio.timeout(10):
            await server.requests[1].hung_up.wait()
