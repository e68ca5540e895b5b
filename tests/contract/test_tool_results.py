"""Results of built-in tools that a worker sends (contract/events.md, contract/sdk-helpers.md): once, and of calls that
may run."""

from __future__ import annotations

from typing import Any

from roost.wire.events.agent import AgentToolUse, Evaluation
from roost.wire.events.session import StatusTerminated, ThreadStatusTerminated
from tests.contract.conftest import Served, body_of
from tests.contract.given import a_session, an_environment, asking, custom_call


def result(call_id: str, text: str = "owl") -> Any:
    return {"type": "user.tool_result", "tool_use_id": call_id, "content": [{"type": "text", "text": text}]}


def confirm(call_id: str, decision: str) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": decision}


def allowed() -> AgentToolUse:
    return AgentToolUse(
        name="bash", input={"command": "ls"}, evaluated_permission="allow", evaluation=Evaluation(type="always_allow")
    )


async def a_self_hosted_session(served: Served) -> str:
    environment = await an_environment(served.client, config={"type": "self_hosted"})
    return (await a_session(served.client, environment_id=environment.id)).id


async def refusal(served: Served, session_id: str, *events: Any) -> str:
    """What is wrong with a request, after looking that nothing of it was written."""
    before = await served.snapshot()
    response = await served.http.post(f"/v1/sessions/{session_id}/events", json={"events": list(events)})
    assert response.status_code == 400, response.text
    assert await served.snapshot() == before
    return str(body_of(response)["error"]["message"])


async def test_a_result_enters_the_log_at_once(served: Served) -> None:
    session_id, call = await a_self_hosted_session(served), allowed()
    await served.emit(session_id, call)
    sent = await served.client.beta.sessions.events.send(session_id, events=[result(call.id)])
    assert sent.data is not None
    (event,) = sent.data
    assert event.processed_at is not None
    stored = [one.id async for one in served.client.beta.sessions.events.list(session_id)]
    assert stored == [call.id, event.id]


async def test_the_same_result_again_is_answered_with_the_stored_one_and_another_is_refused(served: Served) -> None:
    session_id, call = await a_self_hosted_session(served), allowed()
    await served.emit(session_id, call)
    first = await served.client.beta.sessions.events.send(session_id, events=[result(call.id)])
    again = await served.client.beta.sessions.events.send(session_id, events=[result(call.id)])
    assert again == first
    assert "already answered" in await refusal(served, session_id, result(call.id, "eagle"))


async def test_a_call_that_needs_approval_takes_its_result_after_it(served: Served) -> None:
    session_id, call = await a_self_hosted_session(served), asking()
    await served.emit(session_id, call)
    assert "awaits approval" in await refusal(served, session_id, result(call.id))
    assert "awaits approval" in await refusal(served, session_id, confirm(call.id, "allow"), result(call.id))
    await served.client.beta.sessions.events.send(session_id, events=[confirm(call.id, "allow")])
    await served.client.beta.sessions.events.send(session_id, events=[result(call.id)])
    assert "already answered" in await refusal(served, session_id, confirm(call.id, "deny"))


async def test_a_denied_call_takes_no_result(served: Served) -> None:
    session_id, call = await a_self_hosted_session(served), asking()
    off = AgentToolUse(name="bash", input={}, evaluated_permission="deny", evaluation=None)
    await served.emit(session_id, call, off)
    await served.client.beta.sessions.events.send(session_id, events=[confirm(call.id, "deny")])
    assert "was denied" in await refusal(served, session_id, result(call.id))
    assert "was denied" in await refusal(served, session_id, result(off.id))


async def test_a_result_names_a_built_in_call_of_its_session(served: Served) -> None:
    session_id, other_id = await a_self_hosted_session(served), await a_self_hosted_session(served)
    call, foreign = custom_call(), allowed()
    await served.emit(session_id, call)
    await served.emit(other_id, foreign)
    for call_id in (call.id, foreign.id, "sevt_none"):
        assert "names no agent.tool_use" in await refusal(served, session_id, result(call_id))


async def test_a_cloud_session_takes_no_results(served: Served) -> None:
    session_id, call = (await a_session(served.client)).id, allowed()
    await served.emit(session_id, call)
    assert "only for sessions on self_hosted environments" in await refusal(served, session_id, result(call.id))


async def test_a_session_that_has_ended_refuses_a_result_for_good(served: Served) -> None:
    """Not with 409, which the SDK's runner would try again for minutes."""
    session_id, call = await a_self_hosted_session(served), allowed()
    row = await served.row(session_id)
    gone = ThreadStatusTerminated(session_thread_id=row.thread_id, agent_name="Writer")
    await served.emit(session_id, call, gone, StatusTerminated())
    await served.turn_to(session_id, "terminated")
    assert "archived or terminated" in await refusal(served, session_id, result(call.id))
