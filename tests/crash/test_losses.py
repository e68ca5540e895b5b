"""Server, sandbox or model server killed in the middle of a call or a reply."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.crash.victim import victim
from tests.messages_server import ADAPTIVE, MessagesProcess, MessagesServer, Stall, reply, text, tool_use
from tests.rig.chat import Chat, text_of
from tests.rig.waiting import lines
from tests.rig.world import HELD, World, client_of, serving, toolset, world

pytestmark = [pytest.mark.crash, pytest.mark.sandbox]
MARKED = tool_use(
    "bash", {"command": "echo began >> marks; until [ -e go ]; do sleep 0.02; done; echo ended >> marks; cat marks"}
)


@pytest.mark.parametrize("ends", ["while the server is dead", "when the server is back"])
async def test_a_call_outlives_the_server_and_its_result_is_delivered_once(tmp_path: Path, ends: str) -> None:
    with MessagesProcess([reply(MARKED), reply("Done")]) as model:
        async with victim(tmp_path / "server", model.url) as server:
            tools: list[Any] = [toolset()]
            agent = await server.client.beta.agents.create(name="Ada", model=ADAPTIVE, tools=tools)
            environment = await server.client.beta.environments.create(name="test")
            session = await server.client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            await Chat(server.client, session.id).say("Go")
            marks = server.workspace(session.id) / "marks"
            await lines(marks, 1)
            await server.kill()
            if ends == "while the server is dead":
                marks.with_name("go").touch()
                await lines(marks, 2)
            await server.revive()
            marks.with_name("go").touch()
            chat = Chat(server.client, session.id)
            await chat.rests()
            (call,) = await chat.events("agent.tool_use")
            assert text_of(await chat.result_of(call["id"])) == "began\nended"
            assert await lines(marks) == ["began", "ended"]
            await chat.check()


def keeper_of(here: World, session_id: str) -> int:
    """The process that a session's whole sandbox hangs on."""
    return int((here.workspace(session_id).parent / "keeper").read_text().split()[0])


async def test_a_sandbox_killed_in_mid_call_is_an_unknown_outcome_and_the_session_goes_on(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.plays(reply(HELD), reply(tool_use("bash", {"command": "ls"})), reply("I see"))
        async with here.session() as chat:
            await chat.say("Go")
            await here.held(chat.id)
            os.kill(keeper_of(here, chat.id), signal.SIGKILL)
            assert await chat.idle() == {"type": "end_turn"}
            lost, listed = await chat.events("agent.tool_result")
            assert lost["is_error"]
            assert "outcome is unknown" in text_of(lost)
            assert not listed["is_error"]
            assert "held" in text_of(listed)
            await chat.check()


async def test_a_sandbox_that_died_between_two_turns_is_made_anew_with_its_files(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.plays(
            reply(tool_use("write", {"file_path": "kept", "content": "kept"})),
            reply("Written"),
            reply(tool_use("read", {"file_path": "kept"})),
            reply("Read"),
        )
        async with here.session() as chat:
            await chat.say("Write")
            await chat.idle()
            os.kill(keeper_of(here, chat.id), signal.SIGKILL)
            await chat.say("Read")
            assert await chat.idle(2) == {"type": "end_turn"}
            *_, read = await chat.events("agent.tool_result")
            assert "kept" in text_of(read)
            await chat.check()


async def test_a_model_server_killed_in_mid_reply_is_asked_again_when_it_is_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as life:
        model = await life.enter_async_context(MessagesServer([reply(text("One", Stall(), "two"))]))
        async with serving(tmp_path, model.url, retry_first_s=0.05) as roost, client_of(roost.url) as client:
            environment = await client.beta.environments.create(name="test")
            here = World(roost, model, client, tmp_path, environment.id)
            async with here.session(previews=["agent.message"]) as chat:
                await chat.say("Go")
                await chat.event("event_delta")
                await life.aclose()
                await chat.event("session.status_rescheduled")
                port = int(model.url.rpartition(":")[2])
                async with MessagesServer([reply("Whole")], port=port):
                    assert await chat.idle() == {"type": "end_turn"}
                assert await chat.texts() == ["Whole"]
                await chat.check()
