"""The official SDK's worker serves the sessions of a self-hosted environment (behaviour/06 section 6.3)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from roost.store.protocols import Batch
from roost.store.statements import work_update
from tests.messages_server import by_turn, reply, tool_use
from tests.rig.chat import INTERRUPT, Chat, allows, denies, says, text_of
from tests.rig.waiting import lines, until
from tests.rig.world import toolset
from tests.worker.conftest import Hosted

PAST = "2020-01-01T00:00:00.000000Z"
HELD = tool_use("bash", {"command": "echo >> held; until [ -e go ]; do sleep 0.02; done; echo went on"})
"""A call that runs until the test makes the file `go`."""
WORKER = """
import asyncio, sys
from anthropic import AsyncAnthropic
url, environment_id, key, workdir = sys.argv[1:]
client = AsyncAnthropic(base_url=url, api_key="unused")
worker = client.beta.environments.work.worker(
    environment_id=environment_id, environment_key=key, workdir=workdir
)
asyncio.run(worker.run())
"""


@asynccontextmanager
async def worker_process(hosted: Hosted) -> AsyncIterator[asyncio.subprocess.Process]:
    """The same worker as a process of its own, to be killed."""
    arguments = (hosted.world.roost.url, hosted.environment_id, hosted.key, str(hosted.workdir))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lapse(hosted: Hosted, work_id: str) -> None:
    """Has an item's lease run out, as it does when its worker is silent for so long."""
    store = hosted.world.roost.store
    row = await store.work.get(hosted.environment_id, work_id)
    assert row is not None
    await store.commit(Batch((work_update(replace(row, lease_until=PAST)),)))


async def called(chat: Chat) -> str:
    """The id of the session's first call, once the session waits for its result."""
    reason = await chat.idle()
    assert reason["type"] == "requires_action"
    return str(reason["event_ids"][0])


async def test_a_worker_runs_the_calls_of_a_session_on_its_own_machine(hosted: Hosted) -> None:
    hosted.world.plays(
        reply(tool_use("bash", {"command": "echo owl > bird.txt; pwd"})),
        reply(tool_use("read", {"file_path": "bird.txt"})),
        reply("An owl."),
    )
    async with hosted.worker(), hosted.session() as chat:
        await chat.say("Which bird?")
        await until(lambda: text_is_said(chat, "An owl."), "the turn to end")
        await until(lambda: all_stopped(hosted, 1), "the worker to leave the session")
        first, second = await chat.events("user.tool_result")
        assert text_of(first).strip() == str(hosted.workdir.resolve())
        assert "owl" in text_of(second)
        assert await chat.events("agent.tool_result") == []
        await chat.check()
    assert (hosted.workdir / "bird.txt").read_text() == "owl\n"
    assert await hosted.world.roost.fleet.living() == [], "no sandbox of ours was started"
    asked = str(hosted.world.model.requests[0].body)
    assert "/mnt/session/outputs" not in asked, "the worker's machine has no such directory"
    assert "/workspace" not in asked


async def test_a_session_waits_for_a_worker_as_long_as_it_takes(hosted: Hosted) -> None:
    hosted.world.plays(reply(tool_use("bash", {"command": "echo here"})), reply("Here."))
    async with hosted.session() as chat:
        await chat.say("Where?")
        await called(chat)
        async with hosted.worker():
            await until(lambda: text_is_said(chat, "Here."), "the turn to end")
        await chat.check()


async def test_a_call_that_needs_approval_is_held_until_it_is_given(hosted: Hosted) -> None:
    hosted.world.plays(reply(tool_use("bash", {"command": "touch ran"})), reply("Done."))
    async with hosted.worker(), hosted.session(toolset(bash="always_ask")) as chat:
        await chat.say("Do it")
        call_id = await called(chat)
        assert not (hosted.workdir / "ran").exists()
        await chat.send(allows(call_id))
        await until(lambda: text_is_said(chat, "Done."), "the turn to end")
        await chat.check()
    assert (hosted.workdir / "ran").exists()


async def test_a_denied_call_is_answered_by_the_server_and_never_runs(hosted: Hosted) -> None:
    hosted.world.plays(reply(tool_use("bash", {"command": "touch ran"})), reply("I did not."))
    async with hosted.worker(), hosted.session(toolset(bash="always_ask")) as chat:
        await chat.say("Do it")
        await chat.send(denies(await called(chat), "Not today."))
        await until(lambda: text_is_said(chat, "I did not."), "the turn to end")
        (result,) = await chat.events("user.tool_result")
        assert "Not today." in text_of(result)
        assert result["is_error"]
        await chat.check()
    assert not (hosted.workdir / "ran").exists()


async def test_another_worker_finishes_what_a_killed_one_began(hosted: Hosted) -> None:
    hosted.world.plays(reply(HELD), reply("Done."))
    async with hosted.session() as chat:
        async with worker_process(hosted) as first:
            await chat.say("Go")
            await lines(hosted.workdir / "held", 1)
            first.kill()
            await first.wait()
        (item,) = await hosted.items()
        assert item.state == "active", "nobody has noticed yet"
        await lapse(hosted, item.id)
        async with hosted.worker():
            await lines(hosted.workdir / "held", 2)
            (hosted.workdir / "go").touch()
            await until(lambda: text_is_said(chat, "Done."), "the turn to end")
        assert len(await chat.events("user.tool_result")) == 1
        await chat.check()
    assert len(await hosted.items()) == 1, "the same item was handed out again"


async def test_two_workers_share_the_sessions(hosted: Hosted) -> None:
    count = 8
    hosted.world.part.script = by_turn([reply(tool_use("bash", {"command": "echo >> calls"})), reply("Done.")])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hosted.worker())
        await stack.enter_async_context(hosted.worker())
        chats = [await stack.enter_async_context(hosted.session(initial_events=[says("Go")])) for _ in range(count)]
        await until(lambda: all_stopped(hosted, count), "every session to be served and left")
        for chat in chats:
            assert await chat.texts() == ["Done."]
            assert len(await chat.events("user.tool_result")) == 1
            await chat.check()
    assert len(await lines(hosted.workdir / "calls")) == count, "no call ran twice"


async def test_a_message_to_a_session_that_was_left_asks_for_a_worker_again(hosted: Hosted) -> None:
    hosted.world.plays(reply("Hello."), reply(tool_use("bash", {"command": "echo again"})), reply("Done."))
    async with hosted.worker(), hosted.session(initial_events=[says("Hi")]) as chat:
        await until(lambda: all_stopped(hosted, 1), "the worker to leave")
        await chat.say("Go on")
        await until(lambda: text_is_said(chat, "Done."), "the turn to end")
        assert len(await hosted.items()) == 2
        await chat.check()


async def test_an_interrupt_answers_the_call_and_its_worker_drops_the_result(hosted: Hosted) -> None:
    hosted.world.plays(reply(HELD), reply("Hello again."))
    async with hosted.worker(), hosted.session() as chat:
        await chat.say("Go")
        await lines(hosted.workdir / "held", 1)
        await chat.send(INTERRUPT)
        await chat.idle(2)
        (hosted.workdir / "go").touch()
        await until(lambda: all_stopped(hosted, 1), "the worker to leave")
        (result,) = await chat.events("user.tool_result")
        assert "interrupted" in text_of(result)
        await chat.check()


async def test_a_poller_that_drains_the_queue_hands_out_what_waits_and_ends(hosted: Hosted) -> None:
    async with hosted.session() as first, hosted.session() as second, hosted.client() as client:
        poller = client.beta.environments.work.poller(
            environment_id=hosted.environment_id, environment_key=hosted.key, drain=True, auto_stop=False
        )
        assert [item.data.id async for item in poller] == [first.id, second.id]
        assert {item.state for item in await hosted.items()} == {"starting"}


@pytest.mark.parametrize("end", ["archive", "delete"])
async def test_a_session_that_goes_away_frees_its_worker(hosted: Hosted, end: str) -> None:
    hosted.world.part.script = by_turn([reply(HELD), reply("Done.")])
    sessions = hosted.world.client.beta.sessions
    async with hosted.worker() as serving:
        async with hosted.session(initial_events=[says("Go")]) as chat:
            await lines(hosted.workdir / "held", 1)
            await chat.rests()
            await (sessions.archive(chat.id) if end == "archive" else sessions.delete(chat.id))
        (hosted.workdir / "go").touch()
        async with hosted.session(initial_events=[says("Go")]) as chat:
            await until(lambda: text_is_said(chat, "Done."), "the worker to serve the next session")
        assert not serving.done()


async def text_is_said(chat: Chat, text: str) -> bool:
    return text in await chat.texts() and (await chat.events())[-1]["type"] == "session.status_idle"


async def all_stopped(hosted: Hosted, count: int) -> bool:
    """Whether so many items were made and all are done with."""
    states = [item.state for item in await hosted.items()]
    return states == ["stopped"] * count
