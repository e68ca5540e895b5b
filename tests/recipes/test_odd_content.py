"""Content at the edge of what a model takes: nothing a client sends or a tool prints may leave a session unusable."""

from __future__ import annotations

from typing import Any

import pytest

from tests.messages_server import reply, tool_use
from tests.rig.chat import Chat, answers, says, text_of
from tests.rig.world import LOOK, World, toolset

pytestmark = pytest.mark.sandbox

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


async def goes_on(here: World, chat: Chat) -> None:
    """The turn ends well, and so does another one with the same history."""
    assert await chat.idle() == {"type": "end_turn"}
    here.plays(reply("Alive"))
    await chat.say("Alive?")
    assert await chat.idle(2) == {"type": "end_turn"}
    assert (await chat.texts())[-1] == "Alive"
    await chat.check()


@pytest.mark.parametrize("said", [" ", "\n\t\n", "\u00a0"], ids=repr)
async def test_a_message_of_nothing_but_space_is_answered(here: World, said: str) -> None:
    here.plays(reply("Yes?"))
    async with here.session() as chat:
        await chat.say(said)
        await goes_on(here, chat)


async def test_a_message_with_space_beside_words_keeps_the_words(here: World) -> None:
    here.plays(reply("Yes?"))
    async with here.session() as chat:
        blocks = [{"type": "text", "text": text} for text in ("  ", "Hello", "\n")]
        await chat.send({"type": "user.message", "content": blocks})
        await goes_on(here, chat)
    assert "Hello" in [block["text"] for block in here.model.bodies[0]["messages"][0]["content"]]


async def test_a_system_message_of_nothing_but_space_does_no_harm(here: World) -> None:
    here.plays(reply("Yes?"))
    async with here.session() as chat:
        await chat.send(says("Hello"), {"type": "system.message", "content": [{"type": "text", "text": " "}]})
        await goes_on(here, chat)


@pytest.mark.parametrize(
    "answer",
    [
        {"content": [{"type": "text", "text": " "}]},
        {"content": []},
        {"content": [], "is_error": True},
        {"content": None},
    ],
    ids=["space", "nothing", "an error that says nothing", "null"],
)
async def test_a_clients_answer_that_says_nothing_is_taken(here: World, answer: dict[str, Any]) -> None:
    here.plays(reply(tool_use("look", {"at": "sky"})), reply("Nothing there"))
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        call = await chat.event("agent.custom_tool_use")
        await chat.send({**answers(call["id"], ""), **answer})
        await chat.event("session.status_idle", stop_reason={"type": "end_turn"})
        assert await chat.texts() == ["Nothing there"]
        await chat.check()


@pytest.mark.parametrize(
    "command",
    ["true", "echo", "printf ' '", r"printf '\0\1\2'", r"printf '\377\376'", r"printf '\355\240\200'", "exit 3"],
)
async def test_whatever_a_command_prints_the_model_can_be_told(here: World, command: str) -> None:
    here.plays(reply(tool_use("bash", {"command": command})), reply("I see"))
    async with here.session() as chat:
        await chat.say("Run it")
        await goes_on(here, chat)


@pytest.mark.parametrize(
    "call",
    [
        tool_use("read", {"file_path": "empty"}),
        tool_use("read", {"file_path": "space"}),
        tool_use("read", {"file_path": "bytes"}),
        tool_use("read", {"file_path": "missing"}),
        tool_use("grep", {"pattern": "nowhere"}),
        tool_use("grep", {"pattern": "("}),
        tool_use("glob", {"pattern": "*.nowhere"}),
        tool_use("write", {"file_path": "new", "content": ""}),
        tool_use("edit", {"file_path": "space", "old_string": "x", "new_string": "y"}),
        tool_use("bash", {"restart": True}),
        tool_use("bash", {}),
        tool_use("read", {"path": 1}),
        tool_use("teleport", {"to": "home"}),
    ],
    ids=lambda call: f"{call.name} {call.input}",
)
async def test_whatever_a_tool_answers_the_model_can_be_told(here: World, call: Any) -> None:
    make = r"touch empty; printf ' \n' > space; printf '\377\0\376' > bytes"
    here.plays(reply(tool_use("bash", {"command": make})), reply(call), reply("I see"))
    async with here.session() as chat:
        await chat.say("Try")
        await goes_on(here, chat)


async def test_a_picture_that_is_read_reaches_the_model_as_one(here: World) -> None:
    here.plays(
        reply(tool_use("bash", {"command": f"echo {PIXEL} | base64 -d > pixel.png"})),
        reply(tool_use("read", {"file_path": "pixel.png"})),
        reply("One pixel"),
    )
    async with here.session() as chat:
        await chat.say("Look")
        assert await chat.idle() == {"type": "end_turn"}
        read = await chat.event("agent.tool_use", name="read")
        (picture,) = (await chat.result_of(read["id"]))["content"]
        assert picture["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}
        await chat.check()
    results = [block for block in here.model.bodies[-1]["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert results[0]["content"][0]["type"] == "image"


async def test_a_file_that_is_gone_does_not_end_its_session(here: World) -> None:
    uploaded = await here.client.beta.files.upload(file=("word.txt", b"word", "text/plain"))
    document = {"type": "document", "source": {"type": "file", "file_id": uploaded.id}}
    here.plays(reply("Yes?"))
    async with here.session() as chat:
        await chat.send({"type": "user.message", "content": [document, {"type": "text", "text": "Read"}]})
        await here.client.beta.files.delete(uploaded.id)
        await goes_on(here, chat)
        assert text_of(await chat.event("agent.message")) == "Yes?"
