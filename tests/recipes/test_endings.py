"""Every way a turn can end or be held up by the model, one row of the table at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from roost.harness import turn
from tests.messages_server import Broken, Ended, Hold, Reply, Stall, StreamError, error, reply, text, tool_use
from tests.rig.chat import Chat, text_of
from tests.rig.world import World, world

pytestmark = pytest.mark.sandbox

WRITE = {"file_path": "/workspace/long.txt", "content": "all of it"}


async def failure(chat: Chat) -> dict[str, Any]:
    """The one error that ended the turn."""
    found = [event["error"] for event in await chat.events("session.error")]
    exhausted: dict[str, Any]
    (exhausted,) = [body for body in found if body["retry_status"]["type"] == "exhausted"]
    return exhausted


async def says_again(here: World, chat: Chat, turns: int) -> None:
    """The session is alive: another message gets another answer."""
    here.plays(reply("Alive"))
    await chat.say("Alive?")
    assert await chat.idle(turns + 1) == {"type": "end_turn"}
    assert (await chat.texts())[-1] == "Alive"


async def test_a_refusal_ends_the_turn_and_says_why(here: World) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "This would do harm."}
    here.plays(reply("I cannot", stop_reason="refusal", stop_details=details))
    async with here.session() as chat:
        await chat.say("Do harm")
        assert await chat.idle() == {"type": "refusal"}
        (idle,) = await chat.events("session.status_idle")
        assert idle["stop_details"] == details
        await says_again(here, chat, 1)
        await chat.check()


async def test_a_message_that_waits_behind_a_refusal_starts_the_next_turn(here: World) -> None:
    waits = asyncio.Event()
    here.plays(reply(text("I can", Hold(waits), "not"), stop_reason="refusal"), reply("Gladly"))
    async with here.session() as chat:
        await chat.say("Do harm")
        await here.model.asked(1)
        await chat.say("Do good")
        waits.set()
        assert await chat.idle(1) == {"type": "refusal"}
        assert await chat.idle(2) == {"type": "end_turn"}
        await chat.check()


async def test_whole_calls_at_the_output_limit_are_run(here: World) -> None:
    here.plays(reply(tool_use("write", WRITE), stop_reason="max_tokens"), reply("Done"))
    async with here.session() as chat:
        await chat.say("Write")
        assert await chat.idle() == {"type": "end_turn"}
        assert (here.workspace(chat.id) / "long.txt").read_text() == "all of it"
        await chat.check()


async def test_a_call_cut_off_by_the_output_limit_is_dropped_and_the_model_told(here: World) -> None:
    here.plays(reply("Writing", tool_use("write", WRITE, cut=True)), reply(tool_use("write", WRITE)), reply("Done"))
    async with here.session() as chat:
        await chat.say("Write")
        assert await chat.idle() == {"type": "end_turn"}
        calls = [event for event in await chat.events("agent.tool_use") if event["name"] == "write"]
        assert len(calls) == 1
        await chat.check()
    (note,) = here.model.bodies[1]["messages"][-1]["content"]
    assert "did not run" in note["text"]


async def test_three_calls_cut_off_in_a_row_end_the_turn(here: World) -> None:
    here.plays(*[reply("Writing", tool_use("write", WRITE, cut=True))] * 3)
    async with here.session() as chat:
        await chat.say("Write")
        assert await chat.idle() == {"type": "retries_exhausted"}
        assert "output limit" in (await failure(chat))["message"]
        await says_again(here, chat, 1)
        await chat.check()


async def test_text_cut_off_by_the_output_limit_ends_the_turn(here: World) -> None:
    here.plays(reply("Half a sent", stop_reason="max_tokens"))
    async with here.session() as chat:
        await chat.say("Write")
        assert await chat.idle() == {"type": "end_turn"}
        assert await chat.texts() == ["Half a sent"]
        await chat.check()


async def test_a_paused_turn_goes_on_where_it_paused(here: World) -> None:
    here.plays(reply("Searching", stop_reason="pause_turn"), reply("Found"))
    async with here.session() as chat:
        await chat.say("Search")
        assert await chat.idle() == {"type": "end_turn"}
        assert await chat.texts() == ["Searching", "Found"]
        await says_again(here, chat, 1)
        await chat.check()
    assert here.model.bodies[1]["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize(
    "answer",
    [
        reply("I see", stop_reason="model_context_window_exceeded"),
        error(400, "invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"),
    ],
    ids=["while it answers", "before it answers"],
)
async def test_a_conversation_that_no_longer_fits_ends_the_turn(here: World, answer: Any) -> None:
    here.plays(answer)
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        assert (await failure(chat))["type"] == "model_request_failed_error"
        assert len(here.model.requests) == 1
        await chat.check()


PASSING = {
    "408": (error(408, "timeout_error"), "model_request_failed_error"),
    "429": (error(429, "rate_limit_error"), "model_rate_limited_error"),
    "500": (error(500, "api_error"), "model_request_failed_error"),
    "529": (error(529, "overloaded_error"), "model_overloaded_error"),
    "overloaded in mid-stream": (
        reply(text("One", StreamError("overloaded_error", "busy"), "two")),
        "model_overloaded_error",
    ),
    "connection cut": (reply(text("One", Broken(), "two")), "model_request_failed_error"),
    "stream that ends early": (reply(text("One", Ended(), "two")), "model_request_failed_error"),
    "no JSON": (error(200, "", body="<html>"), "model_request_failed_error"),
}


@pytest.mark.parametrize(("answer", "kind"), PASSING.values(), ids=PASSING.keys())
async def test_a_failure_that_passes_is_tried_again(here: World, answer: Any, kind: str) -> None:
    here.plays(answer, answer, reply("There"))
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "end_turn"}
        errors = [event["error"] for event in await chat.events("session.error")]
        assert [(body["type"], body["retry_status"]["type"]) for body in errors] == [(kind, "retrying")] * 2
        assert len(await chat.events("session.status_rescheduled")) == 2
        assert await chat.texts() == ["There"]
        await chat.check()
    first, *others = [request.body["messages"] for request in here.model.requests]
    assert others == [first, first]


async def test_a_reply_that_stalls_is_given_up_and_asked_for_again(tmp_path: Path) -> None:
    async with world(tmp_path, retry_first_s=0.01, model_stall_s=1) as here:
        here.plays(reply(text("One", Stall(), "two")), reply("There"))
        async with here.session() as chat:
            await chat.say("Go")
            assert await chat.idle() == {"type": "end_turn"}
            (body,) = [event["error"] for event in await chat.events("session.error")]
            assert "sent nothing for too long" in body["message"]
            await chat.check()


async def test_the_models_own_wish_when_to_come_back_wins(tmp_path: Path) -> None:
    async with world(tmp_path, retry_first_s=600, retry_pause_max_s=600) as here:
        here.plays(error(429, "rate_limit_error", headers={"retry-after": "0"}), reply("There"))
        async with here.session() as chat:
            await chat.say("Go")
            assert await chat.idle() == {"type": "end_turn"}
            await chat.check()


async def test_no_wish_is_obeyed_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path, retry_after_max_s=0.01) as here:
        here.plays(error(529, "overloaded_error", headers={"retry-after": "100000"}), reply("There"))
        async with here.session() as chat:
            await chat.say("Go")
            assert await chat.idle() == {"type": "end_turn"}
            await chat.check()


async def test_a_failure_that_stays_ends_the_turn_and_flushes_what_waits(here: World) -> None:
    here.plays(*[error(529, "overloaded_error", "all busy")] * 6)
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        errors = [event["error"] for event in await chat.events("session.error")]
        assert [body["retry_status"]["type"] for body in errors] == [*["retrying"] * 5, "exhausted"]
        assert errors[-1]["type"] == "model_overloaded_error"
        assert "all busy" in errors[-1]["message"]
        assert len(here.model.requests) == 6
        await says_again(here, chat, 1)
        await chat.check()


async def test_what_waits_when_a_turn_is_given_up_is_flushed_and_never_said(here: World) -> None:
    waits = asyncio.Event()
    here.plays(reply(text("One", Hold(waits), StreamError("invalid_request_error", "no more"))))
    async with here.session() as chat:
        await chat.say("Go")
        await here.model.asked(1)
        await chat.say("Dropped one", "Dropped two")
        waits.set()
        assert await chat.idle() == {"type": "retries_exhausted"}
        assert "2 queued input(s)" in (await failure(chat))["message"]
        assert [event["processed_at"] is None for event in await chat.events("user.message")] == [False] * 3
        await says_again(here, chat, 1)
        await chat.check()
    assert "Dropped" not in str(here.model.bodies[-1]["messages"])


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_a_request_the_model_does_not_take_ends_the_turn_with_its_words(here: World, status: int) -> None:
    here.plays(error(status, "invalid_request_error", "messages.0: something is off"))
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        body = await failure(chat)
        assert body["type"] == "model_request_failed_error"
        assert "messages.0: something is off" in body["message"]
        assert len(here.model.requests) == 1
        await chat.check()


async def test_an_unpaid_bill_is_called_that(here: World) -> None:
    here.plays(error(402, "billing_error", "Your credit balance is too low"))
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        assert (await failure(chat))["type"] == "billing_error"
        await chat.check()


async def test_a_refused_key_says_how_to_set_one_and_not_what_it_was(here: World) -> None:
    here.plays(error(401, "authentication_error", "invalid x-api-key"))
    async with here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        message = (await failure(chat))["message"]
        assert "ANTHROPIC_API_KEY" in message
        assert "model-key-of-the-tests" not in message
        await chat.check()


async def test_a_missing_key_says_how_to_set_one(tmp_path: Path) -> None:
    async with world(tmp_path, anthropic_api_key="") as here, here.session() as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "retries_exhausted"}
        assert "ANTHROPIC_API_KEY" in (await failure(chat))["message"]
        await chat.check()
        assert here.model.requests == []


@pytest.mark.parametrize("kind", ["tools", "pauses"])
async def test_too_many_rounds_end_the_turn(tmp_path: Path, kind: str) -> None:
    rounds: dict[str, Reply] = {
        "tools": reply(tool_use("glob", {"pattern": "*"})),
        "pauses": reply("Searching", stop_reason="pause_turn"),
    }
    async with world(tmp_path, tool_rounds_max=3) as here:
        here.plays(*[rounds[kind]] * 3)
        async with here.session() as chat:
            await chat.say("Go")
            assert await chat.idle() == {"type": "retries_exhausted"}
            assert (await failure(chat))["type"] == "tool_use_limit_reached_error"
            assert len(here.model.requests) == 3
            await says_again(here, chat, 1)
            await chat.check()


async def test_a_fault_of_our_own_ends_the_turn_and_not_the_session(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a secret detail")

    async with here.session() as chat:
        with monkeypatch.context() as broken:
            broken.setattr(turn, "model_request", fails)
            await chat.say("Go")
            assert await chat.idle() == {"type": "retries_exhausted"}
        body = await failure(chat)
        assert body["type"] == "unknown_error"
        assert "secret" not in body["message"]
        await says_again(here, chat, 1)
        await chat.check()


async def test_a_fault_in_mid_tool_answers_the_call_and_ends_the_turn(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a secret detail")

    here.plays(reply(tool_use("bash", {"command": "true"})))
    async with here.session() as chat:
        with monkeypatch.context() as broken:
            broken.setattr(here.roost.fleet, "execute", fails)
            await chat.say("Go")
            assert await chat.idle() == {"type": "retries_exhausted"}
        call = await chat.event("agent.tool_use", name="bash")
        result = await chat.result_of(call["id"])
        assert result["is_error"]
        assert "secret" not in text_of(result)
        await says_again(here, chat, 1)
        await chat.check()
