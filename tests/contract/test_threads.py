"""The primary thread (contract/sessions.md, Threads)."""

from __future__ import annotations

from typing import Any

from roost.wire.events.session import StatusRunning
from tests.contract.conftest import Served, body_of
from tests.contract.given import HELLO, TOOLSET, a_session, an_agent
from tests.contract.shape import whole


async def test_a_session_has_one_primary_thread(served: Served) -> None:
    agent = await an_agent(served.client, tools=[TOOLSET])
    session = await a_session(served.client, agent=agent.id)
    threads = served.client.beta.sessions.threads
    (thread,) = whole((await threads.list(session.id)).data)
    assert thread.id.startswith("sthr_")
    assert (thread.session_id, thread.parent_thread_id, thread.status) == (session.id, None, "idle")
    assert (thread.stats, thread.usage, thread.workflow_run_id) == (None, None, None)
    assert thread.agent.to_dict() == {k: v for k, v in session.agent.to_dict().items() if k != "multiagent"}
    assert await threads.retrieve(thread.id, session_id=session.id) == thread


async def test_a_running_thread_has_stats(served: Served) -> None:
    session = await a_session(served.client, initial_events=[HELLO])
    (thread,) = whole((await served.client.beta.sessions.threads.list(session.id)).data)
    assert thread.status == "running"
    assert thread.stats is not None
    assert thread.usage is None


async def test_threads_are_filtered_by_status(served: Served) -> None:
    session = await a_session(served.client)
    threads = served.client.beta.sessions.threads
    statuses: Any = ["running", "terminated"]
    assert (await threads.list(session.id, statuses=statuses)).data == []
    assert len((await threads.list(session.id, statuses=["idle"])).data) == 1


async def test_its_events_are_the_sessions(served: Served) -> None:
    session = await a_session(served.client)
    await served.emit(session.id, StatusRunning())
    await served.client.beta.sessions.events.send(session.id, events=[HELLO])
    (thread,) = (await served.client.beta.sessions.threads.list(session.id)).data
    page = await served.client.beta.sessions.threads.events.list(thread.id, session_id=session.id, limit=1)
    events = [event async for event in page]
    assert events == (await served.client.beta.sessions.events.list(session.id)).data


async def test_the_primary_thread_cannot_be_archived(served: Served) -> None:
    session = await a_session(served.client)
    (thread,) = (await served.client.beta.sessions.threads.list(session.id)).data
    response = await served.http.post(f"/v1/sessions/{session.id}/threads/{thread.id}/archive")
    assert (response.status_code, body_of(response)["error"]["type"]) == (400, "invalid_request_error")


async def test_a_thread_of_another_session_is_not_found(served: Served) -> None:
    session, other = await a_session(served.client), await a_session(served.client)
    (thread,) = (await served.client.beta.sessions.threads.list(other.id)).data
    for suffix in ("", "/events", "/stream"):
        response = await served.http.get(f"/v1/sessions/{session.id}/threads/{thread.id}{suffix}")
        assert (response.status_code, body_of(response)["error"]["type"]) == (404, "not_found_error")
