"""Tools that the client runs: recipe 8, early, late, double and parallel answers, and the SDK's own runner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from anthropic import BadRequestError, beta_async_tool

from tests.messages_server import reply, tool_use
from tests.rig.chat import INTERRUPT, answers, text_of
from tests.rig.waiting import WAIT_S
from tests.rig.world import HELD, LOOK, World, toolset

pytestmark = pytest.mark.sandbox


def looks(*places: str) -> list[Any]:
    return [tool_use("look", {"at": place}) for place in places]


async def test_recipe_8_the_session_waits_for_the_clients_answer_and_goes_on_with_it(here: World) -> None:
    here.plays(reply(*looks("sky")), reply("It is blue."))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        call = await chat.event("agent.custom_tool_use")
        assert (call["name"], call["input"]) == ("look", {"at": "sky"})
        assert await chat.idle() == {"type": "requires_action", "event_ids": [call["id"]]}
        (sent,) = await chat.send(answers(call["id"], "blue"))
        assert sent["processed_at"] is not None
        assert await chat.idle(2) == {"type": "end_turn"}
        assert await chat.texts() == ["It is blue."]
        await chat.check()
    results = [block for block in here.model.bodies[-1]["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert results[0]["content"] == [{"type": "text", "text": "blue"}]


async def test_parallel_calls_are_answered_one_by_one_in_any_order(here: World) -> None:
    here.plays(reply(*looks("sky", "sea", "land")), reply("I see."))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        sky, sea, land = (await chat.idle())["event_ids"]
        await chat.send(answers(land, "green"))
        assert await chat.idle(2) == {"type": "requires_action", "event_ids": [sky, sea]}
        await chat.send(answers(sea, "grey"), answers(sky, "blue"))
        assert await chat.idle(3) == {"type": "end_turn"}
        await chat.check()
    results = [block for block in here.model.bodies[-1]["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert [block["content"][0]["text"] for block in results[:3]] == ["blue", "grey", "green"]
    assert len(here.model.requests) == 2


async def test_an_answer_may_come_before_the_session_waits_for_it(here: World) -> None:
    here.plays(reply(HELD, *looks("sky")), reply("I see."))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        call = await chat.event("agent.custom_tool_use")
        await chat.send(answers(call["id"], "blue"))
        await here.let_go(chat.id)
        assert await chat.idle() == {"type": "end_turn"}
        await chat.check()


async def test_a_second_answer_is_refused_and_changes_nothing(here: World) -> None:
    here.plays(reply(*looks("sky", "sea")), reply("I see."))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        sky, sea = (await chat.idle())["event_ids"]
        await chat.send(answers(sky, "blue"))
        for again in (answers(sky, "red"), answers("sevt_unknown", "red")):
            with pytest.raises(BadRequestError):
                await chat.send(again)
        with pytest.raises(BadRequestError):
            await chat.send(answers(sea, "grey"), answers(sea, "green"))
        await chat.send(answers(sea, "grey"))
        await chat.event("session.status_idle", stop_reason={"type": "end_turn"})
        with pytest.raises(BadRequestError):
            await chat.send(answers(sea, "black"))
        assert [text_of(event) for event in await chat.events("user.custom_tool_result")] == ["blue", "grey"]
        await chat.check()


async def test_an_answer_that_is_an_error_or_empty_reaches_the_model_as_such(here: World) -> None:
    here.plays(reply(*looks("sky", "sea")), reply("I see."))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        sky, sea = (await chat.idle())["event_ids"]
        await chat.send({**answers(sky, "too bright"), "is_error": True})
        await chat.send({"type": "user.custom_tool_result", "custom_tool_use_id": sea})
        await chat.event("session.status_idle", stop_reason={"type": "end_turn"})
        await chat.check()
    results = [block for block in here.model.bodies[-1]["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert results[0]["is_error"] is True
    assert results[1]["content"] == [{"type": "text", "text": "(no output)"}]


async def test_an_interrupt_answers_what_the_client_never_did(here: World) -> None:
    here.plays(reply(*looks("sky")), reply("New plan"))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        (call,) = (await chat.idle())["event_ids"]
        await chat.send(INTERRUPT)
        assert await chat.idle(2) == {"type": "end_turn"}
        (result,) = await chat.events("user.custom_tool_result")
        assert (result["custom_tool_use_id"], result["is_error"]) == (call, True)
        with pytest.raises(BadRequestError):
            await chat.send(answers(call, "late"))
        await chat.say("Something else")
        assert await chat.idle(3) == {"type": "end_turn"}
        await chat.check()


async def test_the_sdks_tool_runner_serves_a_session_to_its_end(here: World) -> None:
    here.plays(reply(*looks("sky", "sea")), reply(*looks("land")), reply("I have seen it all."))
    looked: list[str] = []

    @beta_async_tool(name="look")
    async def look(at: str) -> str:
        """Looks at a place.

        Args:
            at: The place.
        """
        looked.append(at)
        return f"{at} is fine"

    async with here.session(LOOK, toolset()) as chat:
        runner = here.client.beta.sessions.events.tool_runner(chat.id, tools=[look], max_idle=0.05)
        await chat.say("Look around")
        async with asyncio.timeout(WAIT_S):
            posted = [call.posted async for call in runner if call.name == "look"]
        assert looked == ["sky", "sea", "land"]
        assert posted == [True, True, True]
        assert await chat.texts() == ["I have seen it all."]
        await chat.check()
