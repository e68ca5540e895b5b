"""Sending events (behaviour/02 section 2.2): checked as a whole, then written as a whole."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roost.wire.events.agent import AgentToolResult, AgentToolUse, Evaluation
from roost.wire.events.session import RequiresAction, StatusIdle
from tests.contract.conftest import OTHER_KEY, Served, body_of
from tests.contract.given import HELLO, a_session, an_agent, asking, custom_call
from tests.contract.models import OLD
from tests.contract.shape import whole

SYSTEM: Any = {"type": "system.message", "content": [{"type": "text", "text": "Note."}]}


def answer(call_id: str, **fields: Any) -> Any:
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, **fields}


def confirm(call_id: str, result: str = "allow", **fields: Any) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": result, **fields}


async def test_a_message_is_queued_echoed_and_wakes_a_brain(served: Served) -> None:
    session = await a_session(served.client)
    content: Any = [
        {"type": "text", "text": "Look"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "T"},
    ]
    sent = whole(
        await served.client.beta.sessions.events.send(session.id, events=[{"type": "user.message", "content": content}])
    )
    assert sent.data is not None
    (event,) = sent.data
    assert event.id.startswith("sevt_")
    assert event.processed_at is None
    row = await served.row(session.id)
    assert (row.status, row.wake_no, row.wake_at is not None) == ("idle", 1, True)
    assert (await served.client.beta.sessions.events.list(session.id)).data == [event]


async def test_answers_to_custom_calls_are_processed_on_receipt(served: Served) -> None:
    session = await a_session(served.client)
    call = custom_call()
    await served.emit(session.id, call)
    result = answer(call.id, content=[{"type": "text", "text": "Rain"}], is_error=False)
    sent = await served.client.beta.sessions.events.send(session.id, events=[result, HELLO])
    assert sent.data is not None
    stored = whole((await served.client.beta.sessions.events.list(session.id)).data)
    assert [event.type for event in stored] == ["agent.custom_tool_use", "user.custom_tool_result", "user.message"]
    assert stored[1:] == sent.data
    assert stored[1].processed_at is not None
    assert stored[2].processed_at is None


async def test_the_echo_carries_the_logs_time_even_when_the_clock_is_behind_it(served: Served) -> None:
    session = await a_session(served.client)
    call = custom_call()
    await served.emit(session.id, call)
    (ahead,) = await served.store.log.read(session.id)
    sent = await served.client.beta.sessions.events.send(session.id, events=[answer(call.id)])
    (_, stored) = (await served.client.beta.sessions.events.list(session.id)).data
    assert sent.data == [stored]
    assert (await served.store.log.read(session.id))[1].ts >= ahead.ts


async def test_a_confirmation_is_queued_for_the_brain(served: Served) -> None:
    session = await a_session(served.client)
    first, second = asking(), asking()
    await served.emit(session.id, first, second)
    events = [confirm(first.id), confirm(second.id, "deny", deny_message="Not now.")]
    whole(await served.client.beta.sessions.events.send(session.id, events=events))
    waiting = await served.store.log.inputs(session.id)
    assert [entry.answers for entry in waiting] == [first.id, second.id]


@pytest.mark.parametrize(
    "event",
    [
        confirm("sevt_unknown"),
        answer("sevt_unknown"),
        {**HELLO, "content": []},
        {**HELLO, "content": [{"type": "text", "text": ""}]},
        {**HELLO, "content": [{"type": "redacted"}]},
        {**HELLO, "content": [{"type": "search_result"}]},
        {**HELLO, "content": "Hello"},
        {**HELLO, "extra": 1},
        {"type": "user.shout"},
        {"content": []},
        {"type": "user.interrupt", "session_thread_id": "sthr_foreign"},
        {"type": "user.tool_result", "tool_use_id": "sevt_x"},
        {"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "c"}},
        {**HELLO, "content": [{"type": "image", "source": {"type": "file", "file_id": "file_unknown"}}]},
        {**HELLO, "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "x"}}]},
    ],
)
async def test_one_bad_event_refuses_the_whole_request(served: Served, event: dict[str, Any]) -> None:
    session = await a_session(served.client)
    before = await served.snapshot()
    response = await served.http.post(f"/v1/sessions/{session.id}/events", json={"events": [HELLO, HELLO, event]})
    error = body_of(response)["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("events.2")
    assert await served.snapshot() == before


@pytest.mark.parametrize("count", [0, 101])
async def test_a_request_holds_one_to_a_hundred_events(served: Served, count: int) -> None:
    session = await a_session(served.client)
    response = await served.http.post(f"/v1/sessions/{session.id}/events", json={"events": [HELLO] * count})
    assert (response.status_code, body_of(response)["error"]["message"][:8]) == (400, "events: ")


# --- answers ---------------------------------------------------------------------------------------------------------


async def refusal(served: Served, session_id: str, *events: dict[str, Any]) -> str:
    before = await served.snapshot()
    response = await served.http.post(f"/v1/sessions/{session_id}/events", json={"events": list(events)})
    assert response.status_code == 400
    assert await served.snapshot() == before
    message: str = body_of(response)["error"]["message"]
    return message


def contradicting(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, **({"result": "deny"} if "result" in event else {"is_error": True})}


async def test_a_call_is_answered_once(served: Served) -> None:
    session = await a_session(served.client)
    custom, ask, run = custom_call(), asking(), asking()
    await served.emit(session.id, custom, ask, run, AgentToolResult(tool_use_id=run.id))
    for event in (answer(custom.id), confirm(ask.id)):
        assert "already answered" in await refusal(served, session.id, event, event)
        await served.client.beta.sessions.events.send(session.id, events=[event])
        assert "already answered" in await refusal(served, session.id, contradicting(event))
    assert "already answered" in await refusal(served, session.id, confirm(run.id))


async def test_the_same_answer_again_changes_nothing_and_is_told_as_it_was(served: Served) -> None:
    session = await a_session(served.client)
    custom, ask = custom_call(), asking()
    await served.emit(session.id, custom, ask)
    for event in (answer(custom.id), confirm(ask.id)):
        first = await served.client.beta.sessions.events.send(session.id, events=[event])
        before = await served.snapshot()
        again = await served.client.beta.sessions.events.send(session.id, events=[event])
        assert again == first
        assert await served.snapshot() == before


async def test_an_answer_must_fit_its_call(served: Served) -> None:
    session, other = await a_session(served.client), await a_session(served.client)
    custom, ask, foreign = custom_call(), asking(), asking()
    allowed = AgentToolUse(
        name="bash", input={}, evaluated_permission="allow", evaluation=Evaluation(type="always_allow")
    )
    await served.emit(session.id, custom, ask, allowed)
    await served.emit(other.id, foreign)
    assert "tool_use_id: names no agent.tool_use" in await refusal(served, session.id, confirm(custom.id))
    assert "names no agent.custom_tool_use" in await refusal(served, session.id, answer(ask.id))
    assert "names no agent.tool_use" in await refusal(served, session.id, confirm(foreign.id))
    assert "does not await approval" in await refusal(served, session.id, confirm(allowed.id))
    assert "deny_message" in await refusal(served, session.id, confirm(ask.id, deny_message="no"))
    assert "events.0.result: " in await refusal(served, session.id, confirm(ask.id, "perhaps"))


async def test_of_two_different_answers_at_once_one_is_refused(served: Served) -> None:
    session = await a_session(served.client)
    call = custom_call()
    await served.emit(session.id, call)
    path = f"/v1/sessions/{session.id}/events"
    posts = [served.http.post(path, json={"events": [answer(call.id, is_error=wrong)]}) for wrong in (False, True)]
    assert sorted(response.status_code for response in await asyncio.gather(*posts)) == [200, 400]


# --- system messages -------------------------------------------------------------------------------------------------


async def test_a_system_message_goes_with_what_it_follows(served: Served) -> None:
    session = await a_session(served.client)
    call = custom_call()
    await served.emit(session.id, call)
    send = served.client.beta.sessions.events.send
    whole(await send(session.id, events=[HELLO, SYSTEM]))
    whole(await send(session.id, events=[answer(call.id), SYSTEM]))
    assert "directly follow" in await refusal(served, session.id, SYSTEM)
    assert "directly follow" in await refusal(served, session.id, {"type": "user.interrupt"}, SYSTEM)
    assert "must be the last event" in await refusal(served, session.id, HELLO, SYSTEM, HELLO)
    assert "at most one" in await refusal(served, session.id, HELLO, SYSTEM, SYSTEM)


async def test_while_action_is_required_a_system_message_needs_a_tool_result(served: Served) -> None:
    session = await a_session(served.client)
    call = custom_call()
    await served.emit(session.id, call, StatusIdle(stop_reason=RequiresAction(event_ids=[call.id])))
    assert "must follow a tool result" in await refusal(served, session.id, HELLO, SYSTEM)
    send = served.client.beta.sessions.events.send
    whole(await send(session.id, events=[answer(call.id), SYSTEM]))


async def test_a_model_that_takes_no_system_messages_is_named(served: Served) -> None:
    session = await a_session(served.client, agent=(await an_agent(served.client, model=OLD)).id)
    path = f"/v1/sessions/{session.id}/events"
    response = await served.http.post(path, json={"events": [HELLO, SYSTEM]})
    error = body_of(response)["error"]
    assert error["details"] == {"error_code": "model_does_not_support_mid_conversation_system"}
    assert OLD in error["message"]


# --- files -----------------------------------------------------------------------------------------------------------


async def test_blocks_refer_to_files_of_the_workspace_that_fit_them(served: Served) -> None:
    files = served.client.beta.files
    image = (await files.upload(file=("a.png", b"png", "image/png"))).id
    text = (await files.upload(file=("a.txt", b"text"))).id
    binary = (await files.upload(file=("a.bin", b"\0"))).id
    session = await a_session(served.client)

    def message(kind: str, file_id: str) -> dict[str, Any]:
        return {**HELLO, "content": [{"type": kind, "source": {"type": "file", "file_id": file_id}}]}

    events: list[Any] = [message("image", image), message("document", text)]
    sent = whole(await served.client.beta.sessions.events.send(session.id, events=events))
    assert sent.data is not None
    assert sent.data[0].to_dict()["content"][0]["source"] == {"type": "file", "file_id": image}
    assert "needs an image" in await refusal(served, session.id, message("image", text))
    assert "needs a PDF or text" in await refusal(served, session.id, message("document", binary))
    response = await served.http.post(
        "/v1/files", headers={"authorization": f"Bearer {OTHER_KEY}"}, files={"file": ("b.txt", b"b")}
    )
    foreign = body_of(response)["id"]
    message_text = await refusal(served, session.id, message("document", foreign))
    assert message_text.startswith("events.0.content.0.source.file_id: there is no file")
