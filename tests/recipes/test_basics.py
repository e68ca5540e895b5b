"""What users are taught to do first: recipes 1 to 5, 20, 21 and 26, word for word through the official SDK."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import datetime
from typing import Any

import pytest
from anthropic.lib.sessions import accumulate_managed_agents_event

from tests.messages_server import ADAPTIVE, Hold, reply, text, tool_use
from tests.rig.chat import answers, says, text_of
from tests.rig.waiting import WAIT_S
from tests.rig.world import HELD, LOOK, World, toolset

pytestmark = pytest.mark.sandbox


def writes(path: str, content: str) -> Any:
    return tool_use("write", {"file_path": path, "content": content})


def runs(command: str) -> Any:
    return tool_use("bash", {"command": command})


async def test_recipe_1_the_quickstart_runs_as_documented(here: World) -> None:
    here.plays(
        reply("I will write it.", writes("/workspace/fib.py", "print(sum(range(10)))")),
        reply(runs("python3 fib.py")),
        reply("It prints 45."),
    )
    client = here.client
    agent = await client.beta.agents.create(
        name="Coding Assistant",
        model=ADAPTIVE,
        system="You are a helpful coding assistant.",
        tools=[{"type": "agent_toolset_20260401"}],
    )
    environment = await client.beta.environments.create(
        name="quickstart-env", config={"type": "cloud", "networking": {"type": "unrestricted"}}
    )
    session = await client.beta.sessions.create(
        agent=agent.id, environment_id=environment.id, title="Quickstart session"
    )
    printed: list[str] = []
    types: list[str] = []
    async with await client.beta.sessions.events.stream(session.id) as stream, asyncio.timeout(WAIT_S):
        await client.beta.sessions.events.send(
            session.id,
            events=[{"type": "user.message", "content": [{"type": "text", "text": "Write a program and run it"}]}],
        )
        async for event in stream:
            types.append(event.type)
            match event.type:
                case "agent.message":
                    printed += [block.text for block in event.content if block.type == "text"]
                case "agent.tool_use":
                    printed.append(f"[{event.name}]")
                case "session.status_idle":
                    break
    assert [line for line in printed if line != "[glob]"] == ["I will write it.", "[write]", "[bash]", "It prints 45."]
    assert types[:2] == ["user.message", "session.status_running"]
    assert (here.workspace(session.id) / "fib.py").read_text() == "print(sum(range(10)))"
    results = [body["messages"][-1]["content"] for body in here.model.bodies]
    assert any(block.get("content") == [{"type": "text", "text": "45"}] for block in results[-1])


async def test_recipe_2_a_session_starts_with_its_first_message(here: World) -> None:
    here.plays(reply("Hello"))
    session = await here.client.beta.sessions.create(
        agent=await here.agent(), environment_id=here.environment_id, initial_events=[says("Hi")]
    )
    assert session.status == "running"
    assert not hasattr(session, "initial_events")
    async with here.attach(session.id) as chat:
        await chat.rests()
        events = await chat.check()
    assert [text_of(event) for event in events if event["type"] == "user.message"] == ["Hi"]
    assert await chat.texts() == ["Hello"]


async def test_recipe_3_a_client_that_lost_its_stream_finds_every_event_once(here: World) -> None:
    going_on = asyncio.Event()
    here.plays(reply(runs("echo one")), reply(text("a", Hold(going_on), "b")), reply("unused"))
    async with here.session() as first:
        await first.say("Go")
        await first.event("agent.tool_result")
    stream = await here.client.beta.sessions.events.stream(first.id)
    seen = {event["id"]: event for event in await first.events()}
    going_on.set()
    handled = list(seen)
    async with stream, asyncio.timeout(WAIT_S):
        async for event in stream:
            event_id = event.to_dict()["id"]
            if event_id not in seen:
                handled.append(event_id)
            if event.type == "session.status_idle":
                break
    assert handled == [event["id"] for event in await first.check()]
    assert len(set(handled)) == len(handled)


async def test_recipe_4_polling_sees_the_same_as_the_stream(here: World) -> None:
    here.plays(reply(runs("echo one")), reply("Done"), reply("Again"))
    async with here.session() as chat:
        for turn in ("Go", "Go on"):
            (sent,) = await chat.send(says(turn))
            listed = await _polled(here, chat.id, sent["id"])
        assert [event["id"] for event in listed] == [event["id"] for event in await chat.check()]
        await chat.idle(2)
        assert [event["id"] for event in chat.seen if event["processed_at"]] == [event["id"] for event in listed]


async def _polled(here: World, session_id: str, sent_id: str) -> list[dict[str, Any]]:
    """Lists again and again until an idle stands behind the message that was sent."""
    async with asyncio.timeout(WAIT_S):
        while True:
            pages = here.client.beta.sessions.events.list(session_id, order="asc")
            events = [event.to_dict(mode="json") async for event in pages]
            ids = [event["id"] for event in events]
            if any(event["type"] == "session.status_idle" for event in events[ids.index(sent_id) :]):
                return events


async def test_recipe_5_a_session_with_custom_tools_does_not_end_early(here: World) -> None:
    here.plays(reply(tool_use("look", {"at": "sky"})), reply("It is blue."))
    reasons = []
    async with here.session(LOOK, toolset()) as chat:
        await chat.say("Look")
        stream = await here.client.beta.sessions.events.stream(chat.id)
        call = await chat.event("agent.custom_tool_use")
        await chat.idle()
        await chat.send(answers(call["id"], "blue"))
        async with stream, asyncio.timeout(WAIT_S):
            async for event in stream:
                if event.type == "session.status_terminated":
                    break
                if event.type == "session.status_idle":
                    reasons.append(event.stop_reason.type)
                    if event.stop_reason.type != "requires_action":
                        break
        assert reasons[-1] == "end_turn"
        assert await chat.texts() == ["It is blue."]
        await chat.check()


async def test_recipe_20_the_agent_reads_a_file_it_was_given_and_cannot_change_it(here: World) -> None:
    path = "/mnt/session/uploads/data/sales.csv"
    here.plays(
        reply(tool_use("read", {"file_path": path})),
        reply(runs(f"echo no >> {path}")),
        reply("Done"),
    )
    uploaded = await here.client.beta.files.upload(file=("sales.csv", b"month,sum\njan,4711\n", "text/csv"))
    session = await here.client.beta.sessions.create(
        agent=await here.agent(),
        environment_id=here.environment_id,
        resources=[{"type": "file", "file_id": uploaded.id, "mount_path": "/data/sales.csv"}],
    )
    (mounted,) = session.resources
    assert mounted.type == "file"
    assert mounted.file_id != uploaded.id
    async with here.attach(session.id) as chat:
        await chat.say("Read it")
        await chat.idle()
        read = await chat.result_of((await chat.event("agent.tool_use", name="read"))["id"])
        assert "jan,4711" in text_of(read)
        changed = await chat.result_of((await chat.event("agent.tool_use", name="bash"))["id"])
        assert changed["is_error"]
        await chat.check()
    assert path in str(here.model.bodies[0]["system"])


async def test_recipe_20_files_come_and_go_in_a_living_sandbox(here: World) -> None:
    path = "/mnt/session/uploads/late.csv"
    look = f"echo $X; cat {path}"
    here.plays(
        reply(runs("X=kept")),
        reply("Ready"),
        reply(runs(look)),
        reply("Read"),
        reply(runs(look)),
        reply("Gone"),
    )
    uploaded = await here.client.beta.files.upload(file=("late.csv", b"month,sum", "text/csv"))
    async with here.session() as chat:
        resources = here.client.beta.sessions.resources
        await chat.say("Remember X")
        await chat.idle()
        added = await resources.add(chat.id, type="file", file_id=uploaded.id, mount_path="/late.csv")
        await chat.say("Read it")
        await chat.idle(2)
        await resources.delete(added.id, session_id=chat.id)
        await chat.say("Read it again")
        await chat.idle(3)
        await chat.check()
        calls = [await chat.event("agent.tool_use", nth, input={"command": look}) for nth in (1, 2)]
        said = [text_of(await chat.result_of(call["id"])) for call in calls]
    assert said[0] == "kept\nmonth,sum"
    assert said[1] == f"kept\ncat: {path}: No such file or directory"
    systems = [path in str(body["system"]) for body in here.model.bodies]
    assert systems == [False, False, True, True, False, False]


async def test_recipe_20_a_file_that_comes_in_the_middle_of_a_turn_is_at_hand_at_the_next_call(here: World) -> None:
    path = "/mnt/session/uploads/late.csv"
    here.plays(reply(HELD), reply(tool_use("read", {"file_path": path})), reply("Read"))
    uploaded = await here.client.beta.files.upload(file=("late.csv", b"month,sum", "text/csv"))
    async with here.session() as chat:
        await chat.say("Go on")
        await here.held(chat.id)
        await here.client.beta.sessions.resources.add(chat.id, type="file", file_id=uploaded.id, mount_path="/late.csv")
        await here.let_go(chat.id)
        await chat.idle()
        read = await chat.result_of((await chat.event("agent.tool_use", name="read"))["id"])
        assert "month,sum" in text_of(read)
        await chat.check()
    assert [path in str(body["system"]) for body in here.model.bodies] == [False, True, True]


async def test_recipe_21_what_the_agent_leaves_is_there_when_the_session_is_idle(here: World) -> None:
    data = bytes(range(256)) * 400
    here.plays(
        reply(runs('python3 -c \'open("/mnt/session/outputs/out.bin", "wb").write(bytes(range(256)) * 400)\'')),
        reply(writes("/mnt/session/outputs/notes/report.md", "# Report")),
        reply("Done"),
        reply(writes("/mnt/session/outputs/notes/report.md", "# Better report")),
        reply("Done again"),
    )
    async with here.session() as chat:
        await chat.say("Go")
        await chat.idle()
        first = await _outputs(here, chat.id)
        assert {name: file[1] for name, file in first.items()} == {"out.bin": data, "report.md": b"# Report"}
        await chat.say("Better")
        await chat.idle(2)
        second = await _outputs(here, chat.id)
        assert second["report.md"][1] == b"# Better report"
        assert second["out.bin"] == first["out.bin"]
        await chat.check()


async def _outputs(here: World, session_id: str) -> dict[str, tuple[str, bytes]]:
    """File name -> id and content."""
    found = {}
    async for file in here.client.beta.files.list(scope_id=session_id):
        content = await (await here.client.beta.files.download(file.id)).read()
        assert (file.size_bytes, file.downloadable) == (len(content), True)
        found[file.filename] = (file.id, content)
    return found


async def test_recipe_26_deltas_build_up_the_message_that_follows(here: World) -> None:
    shown = asyncio.Event()
    here.plays(reply(text("One", " two", Hold(shown), " three")), reply("Again"))
    snapshots: list[str] = []
    async with here.session(previews=["agent.message", "agent.thinking"]) as chat:
        stream = await here.client.beta.sessions.events.stream(chat.id, event_deltas=["agent.message"])
        await chat.say("Count")
        accumulated = None
        async with stream, asyncio.timeout(WAIT_S):
            async for event in stream:
                accumulated = accumulate_managed_agents_event(accumulated, event)
                if event.type in ("event_start", "event_delta", "agent.message"):
                    assert accumulated is not None
                    snapshots.append("".join(block.text for block in accumulated.content if block.type == "text"))
                if snapshots[-1:] == ["One two"]:
                    shown.set()
                if event.type == "span.model_request_end":
                    break
        await chat.idle()
        await chat.say("Once more")
        await chat.idle(2)
        _previews_fit(chat.seen)
        assert {"event_start", "event_delta"}.isdisjoint({event["type"] for event in await chat.check()})
    assert snapshots[:3] == ["", "One", "One two"]
    assert snapshots[-1] == "One two three"


def _previews_fit(seen: list[dict[str, Any]]) -> None:
    """One start an id, deltas a prefix of the final text, the final event last for its id."""
    open_texts: dict[str, str] = {}
    for event in seen:
        match event["type"]:
            case "event_start":
                assert event["event"]["id"] not in open_texts
                open_texts[event["event"]["id"]] = ""
            case "event_delta":
                open_texts[event["event_id"]] += event["delta"]["content"]["text"]
            case "agent.message":
                assert text_of(event).startswith(open_texts.pop(event["id"], ""))
            case "span.model_request_end":
                assert not any(open_texts.values())


async def test_a_document_by_file_id_reaches_the_model_whole(here: World) -> None:
    here.plays(reply("I read it."))
    content = "Secret word: " + hashlib.sha256(b"roost").hexdigest()
    uploaded = await here.client.beta.files.upload(file=("word.txt", content.encode(), "text/plain"))
    document = {"type": "document", "source": {"type": "file", "file_id": uploaded.id}}
    async with here.session() as chat:
        await chat.send({"type": "user.message", "content": [document, {"type": "text", "text": "Read"}]})
        await chat.idle()
        await chat.check()
    assert here.model.bodies[0]["messages"][0]["content"][0]["source"] == {
        "type": "text",
        "media_type": "text/plain",
        "data": content,
    }


async def test_events_carry_times_that_never_run_backwards(here: World) -> None:
    here.plays(reply(runs("true")), reply("Done"))
    async with here.session() as chat:
        await chat.say("Go")
        await chat.idle()
        times = [datetime.fromisoformat(event["processed_at"]) for event in await chat.check()]
    assert times == sorted(times)
