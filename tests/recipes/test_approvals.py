"""Tools that must be asked for: recipes 6 and 7, and everything between a partial answer and a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anthropic import BadRequestError

from tests.messages_server import Answer, MessagesServer, reply, tool_use
from tests.rig.chat import INTERRUPT, allows, denies, says, text_of
from tests.rig.world import HELD, World, client_of, serving, toolset

pytestmark = pytest.mark.sandbox

ASK = toolset(bash="always_ask")


def marks(*names: str) -> list[Any]:
    """Calls that each leave a line in a file."""
    return [tool_use("bash", {"command": f"echo {name} >> /workspace/marks; echo did {name}"}) for name in names]


def marked(here: World, session_id: str) -> list[str]:
    path = here.workspace(session_id) / "marks"
    return path.read_text().split() if path.exists() else []


async def asked(chat: Any, count: int) -> list[str]:
    """The ids of the calls that wait, as the idle names them."""
    reason = await chat.idle()
    assert reason["type"] == "requires_action"
    calls = [event["id"] for event in await chat.events("agent.tool_use") if event["name"] == "bash"]
    assert reason["event_ids"] == calls
    assert len(calls) == count
    return calls


async def test_recipe_6_an_approved_call_runs_and_a_denied_one_does_not(here: World) -> None:
    here.plays(reply(*marks("one", "two")), reply("I see"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        first, second = await asked(chat, 2)
        assert marked(here, chat.id) == []
        await chat.send(allows(first), denies(second, "Not on a Friday."))
        assert await chat.idle(2) == {"type": "end_turn"}
        assert marked(here, chat.id) == ["one"]
        assert text_of(await chat.result_of(first)) == "did one"
        refusal = await chat.result_of(second)
        assert refusal["is_error"]
        assert "Not on a Friday." in text_of(refusal)
        await chat.check()
    assert "Not on a Friday." in str(here.model.bodies[-1]["messages"][-1])


async def test_an_answer_to_some_of_the_calls_names_the_rest_again_and_runs_nothing_yet(here: World) -> None:
    here.plays(reply(*marks("one", "two", "three")), reply("I see"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        first, second, third = await asked(chat, 3)
        await chat.send(allows(second))
        assert await chat.idle(2) == {"type": "requires_action", "event_ids": [first, third]}
        await chat.send(allows(third))
        assert await chat.idle(3) == {"type": "requires_action", "event_ids": [first]}
        assert marked(here, chat.id) == []
        assert len(here.model.requests) == 1
        await chat.send(denies(first))
        assert await chat.idle(4) == {"type": "end_turn"}
        assert sorted(marked(here, chat.id)) == ["three", "two"]
        await chat.check()


async def test_recipe_7_a_call_may_be_confirmed_before_the_session_waits_for_it(here: World) -> None:
    """The allowed call is still running when the confirmation comes, so the session never has to wait."""
    here.plays(reply(HELD, tool_use("write", {"file_path": "x", "content": "y"})), reply("ok"))
    async with here.session(toolset(write="always_ask")) as chat:
        await chat.say("Go")
        call = await chat.event("agent.tool_use", evaluated_permission="ask")
        await chat.send(allows(call["id"]))
        await here.let_go(chat.id)
        assert await chat.idle() == {"type": "end_turn"}
        assert (here.workspace(chat.id) / "x").read_text() == "y"
        await chat.check()


async def test_a_call_that_needs_no_approval_does_not_wait_for_one_that_does(here: World) -> None:
    here.plays(reply(*marks("one"), tool_use("write", {"file_path": "x", "content": "y"})), reply("ok"))
    async with here.session(toolset(write="always_ask")) as chat:
        await chat.say("Go")
        waiting = (await chat.event("agent.tool_use", name="write"))["id"]
        assert await chat.idle() == {"type": "requires_action", "event_ids": [waiting]}
        assert marked(here, chat.id) == ["one"]
        await chat.send(allows(waiting))
        assert await chat.idle(2) == {"type": "end_turn"}
        assert marked(here, chat.id) == ["one"]
        await chat.check()


async def test_a_confirmation_that_nobody_waits_for_is_refused(here: World) -> None:
    here.plays(reply(*marks("one"), tool_use("write", {"file_path": "x", "content": "y"})), reply("ok"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        (asked_for,) = await asked(chat, 1)
        free = (await chat.event("agent.tool_use", name="write"))["id"]
        for wrong in (free, "sevt_unknown", (await chat.event("user.message"))["id"]):
            with pytest.raises(BadRequestError):
                await chat.send(allows(wrong))
        await chat.send(allows(asked_for))
        with pytest.raises(BadRequestError):
            await chat.send(denies(asked_for))
        assert await chat.idle(2) == {"type": "end_turn"}
        with pytest.raises(BadRequestError):
            await chat.send(denies(asked_for))
        await chat.check()


async def test_messages_wait_while_a_call_waits_for_its_approval(here: World) -> None:
    here.plays(reply(*marks("one")), reply("I see"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        (call,) = await asked(chat, 1)
        await chat.say("Hurry up")
        await chat.send(allows(call))
        assert await chat.idle(2) == {"type": "end_turn"}
        await chat.check()
    said = here.model.bodies[-1]["messages"][-1]["content"]
    assert said[0]["type"] == "tool_result"
    assert said[-1]["text"] == "Hurry up"


async def test_a_tool_that_is_off_is_not_run_and_the_model_is_told(here: World) -> None:
    here.plays(reply(*marks("one")), reply("I see"))
    async with here.session(toolset(bash="off")) as chat:
        await chat.say("Go")
        assert await chat.idle() == {"type": "end_turn"}
        call = await chat.event("agent.tool_use", name="bash")
        assert (call["evaluated_permission"], call["evaluation"]) == ("deny", None)
        assert (await chat.result_of(call["id"]))["is_error"]
        assert marked(here, chat.id) == []
        await chat.check()
    assert "bash" not in [tool["name"] for tool in here.model.bodies[0]["tools"]]


async def test_a_waiting_call_can_be_interrupted_without_asking_the_model(here: World) -> None:
    here.plays(reply(*marks("one", "two")), reply("New plan"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        calls = await asked(chat, 2)
        await chat.send(INTERRUPT)
        assert await chat.idle(2) == {"type": "end_turn"}
        for call in calls:
            result = await chat.result_of(call)
            assert (text_of(result), result["is_error"]) == (
                "Tool execution was interrupted before completion. Please retry.",
                True,
            )
        assert len(here.model.requests) == 1
        await chat.say("Something else")
        assert await chat.idle(3) == {"type": "end_turn"}
        assert marked(here, chat.id) == []
        await chat.check()


async def test_a_confirmation_that_comes_with_an_interrupt_runs_nothing(here: World) -> None:
    here.plays(reply(*marks("one")), reply("New plan"))
    async with here.session(ASK) as chat:
        await chat.say("Go")
        (call,) = await asked(chat, 1)
        await chat.send(allows(call), INTERRUPT, says("Something else"))
        assert await chat.idle(2) == {"type": "end_turn"}
        assert await chat.idle(3) == {"type": "end_turn"}
        assert marked(here, chat.id) == []
        await chat.check()


@pytest.mark.parametrize("answered", ["before the restart", "after the restart"])
async def test_an_approval_outlives_a_restart_of_the_server(tmp_path: Path, answered: str) -> None:
    answers: list[Answer] = [reply(*marks("one", "two")), reply("I see")]
    async with MessagesServer(answers) as model:
        async with serving(tmp_path, model.url) as roost, client_of(roost.url) as client:
            environment = await client.beta.environments.create(name="test")
            here = World(roost, model, client, tmp_path, environment.id)
            async with here.session(ASK) as chat:
                await chat.say("Go")
                first, second = await asked(chat, 2)
                if answered == "before the restart":
                    await chat.send(allows(first))
                    await chat.idle(2)
        async with serving(tmp_path, model.url) as roost, client_of(roost.url) as client:
            here = World(roost, model, client, tmp_path, environment.id)
            async with here.attach(chat.id) as again:
                if answered == "after the restart":
                    await again.send(allows(first))
                await again.send(denies(second))
                await again.event("session.status_idle", stop_reason={"type": "end_turn"})
                await again.check()
            assert marked(here, chat.id) == ["one"]
