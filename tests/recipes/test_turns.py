"""What happens within and between turns: messages that queue, the count of tokens, system messages, a restart."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tests.messages_server import Hold, MessagesServer, reply, text, tool_use
from tests.rig.chat import says, text_of
from tests.rig.world import HELD, World, client_of, serving

pytestmark = pytest.mark.sandbox


def system(said: str) -> object:
    return {"type": "system.message", "content": [{"type": "text", "text": said}]}


async def test_a_message_sent_while_the_model_speaks_is_seen_waiting_and_then_taken_up(here: World) -> None:
    waits = asyncio.Event()
    here.plays(reply(text("One", Hold(waits), ".")), reply("Two"))
    async with here.session() as chat:
        await chat.say("First")
        await here.model.asked(1)
        (sent,) = await chat.send(says("Second"))
        assert sent["processed_at"] is None
        listed = await chat.events()
        assert (listed[-1]["id"], listed[-1]["processed_at"]) == (sent["id"], None)
        waits.set()
        assert await chat.idle() == {"type": "end_turn"}
        echoes = [event["processed_at"] is None for event in chat.seen if event.get("id") == sent["id"]]
        assert echoes == [True, False]
        assert await chat.texts() == ["One.", "Two"]
        kinds = [event["type"] for event in await chat.check()]
    assert kinds.count("session.status_idle") == 1
    assert len(here.model.requests) == 2


async def test_messages_that_wait_are_taken_up_together_between_two_requests(here: World) -> None:
    here.plays(reply(HELD), reply("All of it"))
    async with here.session() as chat:
        await chat.say("First")
        await here.held(chat.id)
        await chat.say("Second")
        await chat.say("Third")
        await here.let_go(chat.id)
        await chat.idle()
        await chat.check()
    said = here.model.bodies[1]["messages"][-1]["content"]
    assert [block["text"] for block in said if block["type"] == "text"] == ["Second", "Third"]
    assert len(here.model.requests) == 2


async def test_several_messages_in_one_request_are_one_turn(here: World) -> None:
    here.plays(reply("Both"))
    async with here.session() as chat:
        await chat.say("One", "Two")
        await chat.idle()
        await chat.check()
    assert len(here.model.requests) == 1


async def test_a_system_message_reaches_the_model_where_it_takes_one(here: World) -> None:
    waits = asyncio.Event()
    here.plays(reply(text("Hi", Hold(waits))), reply("Brief"), reply("Two"), reply("Still brief"))
    async with here.session() as chat:
        await chat.say("Hello")
        await here.model.asked(1)
        await chat.send(says("One"), system("Be brief"))
        await chat.say("Two")
        waits.set()
        await chat.idle()
        await chat.say("Three")
        await chat.idle(2)
        await chat.check()
    roles = [message["role"] for message in here.model.bodies[-1]["messages"]]
    assert roles == ["user", "assistant", "user", "system", "assistant", "user", "assistant", "user"]


async def test_usage_is_what_the_model_counted(here: World) -> None:
    usage = {
        "input_tokens": 11,
        "output_tokens": 13,
        "cache_read_input_tokens": 17,
        "cache_creation_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
    }
    here.plays(reply(tool_use("glob", {"pattern": "*"}), usage=usage), reply("Done", usage=usage))
    async with here.session() as chat:
        await chat.say("Go")
        await chat.idle()
        ends = await chat.events("span.model_request_end")
        (snapshot,) = [event["usage"] for event in await chat.events("session.usage")]
        session = await here.client.beta.sessions.retrieve(chat.id)
        await chat.check()
    assert [end["model_usage"]["cache_creation_input_tokens"] for end in ends] == [10, 10]
    assert session.usage is not None
    counted = session.usage.to_dict(mode="json")
    for shown in (snapshot, counted):
        assert (shown["input_tokens"], shown["output_tokens"], shown["cache_read_input_tokens"]) == (22, 26, 34)
        assert shown["cache_creation"] == {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 12}


async def test_a_request_reads_from_the_cache_what_the_one_before_it_wrote(here: World) -> None:
    here.plays(reply(tool_use("glob", {"pattern": "*"})), reply(tool_use("glob", {"pattern": "*"})), reply("Done"))
    async with here.session() as chat:
        await chat.say(f"Nobody has said {chat.id} before")
        await chat.idle()
        usages = [event["model_usage"] for event in await chat.events("span.model_request_end")]
    for before, after in pairwise(usages):
        assert before["cache_creation_input_tokens"] > 0
        assert after["cache_read_input_tokens"] == sum(
            before[name] for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
        )


async def test_many_sessions_run_side_by_side_each_with_its_own_log(here: World) -> None:
    count = 8
    here.part.script = lambda request: reply(str(request.body["messages"][0]["content"][0]["text"]))
    agent_id = await here.agent()

    async def one(number: int) -> list[str]:
        made = await here.client.beta.sessions.create(agent=agent_id, environment_id=here.environment_id)
        async with here.attach(made.id) as chat:
            await chat.say(f"I am {number}")
            await chat.idle()
            await chat.check()
            return await chat.texts()

    assert await asyncio.gather(*map(one, range(count))) == [[f"I am {number}"] for number in range(count)]


async def test_a_turn_that_a_stopping_server_hands_over_goes_on_in_the_next_one(tmp_path: Path) -> None:
    never = asyncio.Event()
    script = [reply(text("Half", Hold(never), "way")), reply("The whole")]
    async with MessagesServer(script) as model:
        async with serving(tmp_path, model.url) as roost, client_of(roost.url) as client:
            environment = await client.beta.environments.create(name="test")
            here = World(roost, model, client, tmp_path, environment.id)
            async with here.session() as chat:
                await chat.say("Go")
                await model.asked(1)
        async with serving(tmp_path, model.url) as roost, client_of(roost.url) as client:
            again = World(roost, model, client, tmp_path, environment.id)
            async with again.attach(chat.id) as chat:
                await chat.rests()
                assert await chat.texts() == ["The whole"]
                ends = await chat.events("span.model_request_end")
                assert [event["is_error"] for event in ends] == [True, False]
                await chat.check()


async def test_what_the_shell_leaves_is_there_in_the_next_call_and_the_next_turn(here: World) -> None:
    here.plays(
        reply(tool_use("bash", {"command": "cd /tmp && export WORD=kept"})),
        reply("Set"),
        reply(tool_use("bash", {"command": "echo $WORD in $PWD"})),
        reply("Read"),
    )
    async with here.session() as chat:
        await chat.say("Set")
        await chat.idle()
        await chat.say("Read")
        await chat.idle(2)
        call = await chat.event("agent.tool_use", nth=2, name="bash")
        assert text_of(await chat.result_of(call["id"])) == "kept in /tmp"
        await chat.check()
