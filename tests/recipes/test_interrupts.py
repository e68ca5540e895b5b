"""Stop: recipes 9 and 10, and an interrupt in every state a session can be in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.messages_server import Hold, error, reply, text, tool_use
from tests.rig.chat import INTERRUPT, says, text_of
from tests.rig.waiting import WAIT_S
from tests.rig.world import HELD, World, toolset, world

pytestmark = pytest.mark.sandbox
NEVER = "48151.62342"
"""A time that no other process of this machine sleeps for."""


def sleepers() -> list[str]:
    """Command lines of living processes of this machine that sleep for `NEVER`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if NEVER in line:
            found.append(line)
    return found


async def test_recipe_9_stop_and_do_this_instead(here: World) -> None:
    here.plays(reply(text("I will", Hold(asyncio.Event()))), reply("Instead"))
    async with here.session() as chat:
        await chat.say("Do that")
        request = await here.model.asked(1)
        await chat.send(INTERRUPT, says("Do this instead"))
        assert await chat.idle(2) == {"type": "end_turn"}
        async with asyncio.timeout(WAIT_S):
            await request.hung_up.wait()
        events = await chat.check()
        assert await chat.texts() == ["Instead"]
    kinds = [event["type"] for event in events]
    first_idle = kinds.index("session.status_idle")
    assert kinds.index("user.interrupt") < first_idle
    assert events[first_idle]["stop_reason"] == {"type": "end_turn"}
    assert kinds.count("session.status_running") == 2
    (ended, _) = [event for event in events if event["type"] == "span.model_request_end"]
    assert ended["is_error"]
    assert [block["text"] for message in here.model.bodies[1]["messages"] for block in message["content"]] == [
        "Do that",
        "Do this instead",
    ]


@pytest.mark.parametrize("then", ["archive", "delete", "update the agent"])
async def test_recipe_10_a_session_that_was_stopped_can_be_cleaned_up_at_once(here: World, then: str) -> None:
    here.plays(reply(text("I will", Hold(asyncio.Event()))))
    sessions = here.client.beta.sessions
    async with here.session() as chat:
        await chat.say("Do that")
        await here.model.asked(1)
        await chat.send(INTERRUPT)
        await chat.idle()
        assert (await sessions.retrieve(chat.id)).status == "idle"
        match then:
            case "archive":
                assert (await sessions.archive(chat.id)).archived_at is not None
                assert (await chat.event("session.status_terminated"))["processed_at"]
            case "delete":
                assert (await sessions.delete(chat.id)).id == chat.id
                await chat.event("session.deleted")
            case "update the agent":
                agent = {"tools": [toolset(bash="off")]}
                await sessions.update(chat.id, extra_body={"agent": agent})
                await chat.event("session.updated")


async def test_the_process_tree_of_an_interrupted_call_is_dead_when_the_session_is_idle(here: World) -> None:
    command = f"touch started; sh -c 'sleep {NEVER}' & setsid sleep {NEVER} & sleep {NEVER}; echo never"
    here.plays(
        reply(tool_use("bash", {"command": command})),
        reply(tool_use("bash", {"command": "cat started; pwd"})),
        reply("ok"),
    )
    async with here.session() as chat:
        await chat.say("Go")
        await here.file(chat.id, "started")
        await chat.send(INTERRUPT)
        assert await chat.idle() == {"type": "end_turn"}
        assert sleepers() == []
        call = await chat.event("agent.tool_use", name="bash")
        result = await chat.result_of(call["id"])
        assert result["is_error"]
        assert text_of(result) == "Tool execution was interrupted before completion. Please retry."
        await chat.say("Go on")
        assert await chat.idle(2) == {"type": "end_turn"}
        again = await chat.event("agent.tool_use", nth=2, name="bash")
        assert text_of(await chat.result_of(again["id"])) == "/workspace"
        await chat.check()


async def test_an_interrupt_leaves_what_earlier_calls_finished(here: World) -> None:
    here.plays(reply(tool_use("write", {"file_path": "kept", "content": "x"})), reply(HELD))
    async with here.session() as chat:
        await chat.say("Go")
        await here.held(chat.id)
        await chat.send(INTERRUPT)
        await chat.idle()
        written = await chat.event("agent.tool_use", name="write")
        assert not (await chat.result_of(written["id"]))["is_error"]
        assert (here.workspace(chat.id) / "kept").read_text() == "x"
        await chat.check()


async def test_an_interrupt_of_an_idle_session_asks_no_model(here: World) -> None:
    here.plays(reply("Hello"), reply("Hello again"))
    async with here.session() as chat:
        await chat.say("Hi")
        await chat.idle()
        await chat.send(INTERRUPT)
        taken = await chat.until(
            lambda seen: next((e for e in seen if e["type"] == "user.interrupt" and e["processed_at"]), None),
            "the interrupt to be taken up",
        )
        assert taken["processed_at"]
        await chat.say("Hi again")
        await here.model.asked(2)
        await chat.until(lambda seen: seen[-1]["type"] == "session.status_idle" or None, "the end")
        await chat.check()


async def test_an_interrupt_ends_the_wait_for_the_next_try(tmp_path: Path) -> None:
    async with world(tmp_path, retry_first_s=600, retry_pause_max_s=600) as here:
        here.plays(error(529, "overloaded_error"), reply("Back again"))
        async with here.session() as chat:
            await chat.say("Hi")
            await chat.event("session.status_rescheduled")
            await chat.send(INTERRUPT)
            assert await chat.idle() == {"type": "end_turn"}
            await chat.say("Still there?")
            assert await chat.idle(2) == {"type": "end_turn"}
            assert await chat.texts() == ["Back again"]
            await chat.check()


async def test_two_interrupts_at_once_stop_once(here: World) -> None:
    here.plays(reply(text("I will", Hold(asyncio.Event()))))
    async with here.session() as chat:
        await chat.say("Do that")
        await here.model.asked(1)
        await chat.send(INTERRUPT, INTERRUPT)
        await chat.idle()
        events = await chat.check()
    assert [event["type"] for event in events].count("session.status_idle") == 1


async def test_messages_that_waited_start_a_new_turn_after_the_interrupt(here: World) -> None:
    here.plays(reply(HELD), reply("Both"))
    async with here.session() as chat:
        await chat.say("Do that")
        await here.held(chat.id)
        await chat.say("One more thing")
        await chat.send(INTERRUPT)
        assert await chat.idle(2) == {"type": "end_turn"}
        assert await chat.texts() == ["Both"]
        await chat.check()


async def test_no_preview_follows_the_end_of_an_interrupted_request(here: World) -> None:
    here.plays(reply(text("One", " two", Hold(asyncio.Event()), " three")))
    async with here.session(previews=["agent.message"]) as chat:
        await chat.say("Count")
        await chat.event("event_delta", nth=2)
        await chat.send(INTERRUPT)
        await chat.idle()
        kinds = [event["type"] for event in chat.seen]
        assert "event_delta" not in kinds[kinds.index("span.model_request_end") :]
        assert "agent.message" not in kinds
