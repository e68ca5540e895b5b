"""Sessions through the official SDK (contract/sessions.md, behaviour/01 section 1.3, behaviour/02 section 2.1)."""

from __future__ import annotations

from typing import Any

import pytest

from roost.wire.events.session import StatusTerminated
from tests.contract.conftest import Served, body_of
from tests.contract.given import CUSTOM, HELLO, TOOLSET, a_session, an_agent, an_environment
from tests.contract.models import KNOWN, OLD
from tests.contract.shape import whole


async def test_a_created_session_is_idle_and_answered_whole(served: Served) -> None:
    agent = await an_agent(served.client, tools=[TOOLSET, CUSTOM], system="s")
    environment = await an_environment(served.client)
    session = whole(
        await a_session(served.client, agent=agent.id, environment_id=environment.id, title="t", metadata={"a": "1"})
    )
    assert session.id.startswith("sesn_")
    assert (session.status, session.title, session.metadata) == ("idle", "t", {"a": "1"})
    assert (session.environment_id, session.resources, session.vault_ids) == (environment.id, [], [])
    assert (session.budget, session.outcome_evaluations, session.deployment_id) == (None, [], None)
    assert (session.usage.input_tokens, session.usage.list_cost, session.stats.active_seconds) == (0, None, 0.0)
    assert (session.agent.id, session.agent.version, session.agent.tools) == (agent.id, 1, agent.tools)
    assert (await served.row(session.id)).status == "idle"


async def test_a_retrieved_session_differs_only_in_its_age(served: Served) -> None:
    session = await a_session(served.client)
    again = await served.client.beta.sessions.retrieve(session.id)
    assert again.stats.duration_seconds is not None
    assert session.stats.duration_seconds is not None
    assert again.stats.duration_seconds > session.stats.duration_seconds
    assert again.to_dict() | {"stats": None} == session.to_dict() | {"stats": None}


async def test_unbuilt_fields_are_accepted_empty_or_null(served: Served) -> None:
    agent = (await an_agent(served.client)).id
    environment = (await an_environment(served.client)).id
    nothing: list[dict[str, Any]] = [
        {"vault_ids": [], "budget": None},
        {"vault_ids": None, "resources": [], "initial_events": []},
    ]
    for fields in nothing:
        body = {"agent": agent, "environment_id": environment, **fields}
        response = await served.http.post("/v1/sessions", json=body)
        assert response.status_code == 200
        assert (body_of(response)["vault_ids"], body_of(response)["status"]) == ([], "idle")


async def test_initial_events_make_it_running_and_are_queued_without_an_echo(served: Served) -> None:
    session = whole(await a_session(served.client, initial_events=[HELLO, HELLO]))
    assert session.status == "running"
    row = await served.row(session.id)
    assert row.wake_at is not None
    assert row.running_since == row.created_at
    waiting = await served.client.beta.sessions.events.list(session.id)
    assert [(event.type, event.processed_at) for event in whole(waiting.data)] == [("user.message", None)] * 2


# --- the agent of a session ------------------------------------------------------------------------------------------


async def test_overrides_with_unbuilt_tools_warn(served: Served) -> None:
    agent = await an_agent(served.client)
    environment = await an_environment(served.client)
    raw = await served.client.beta.sessions.with_raw_response.create(
        agent={"type": "agent_with_overrides", "id": agent.id, "tools": [TOOLSET]}, environment_id=environment.id
    )
    assert "web_search" in raw.headers["x-roost-warning"]


@pytest.mark.parametrize(
    ("override", "status", "message"),
    [
        ({"model": None}, 400, "agent.model: a session needs a model"),
        ({"version": 9}, 404, "agent.version: "),
        ({"system": "x" * 100_001}, 400, "agent.system: "),
        ({"mcp_servers": [{"type": "url", "name": "n", "url": "u"}]}, 400, "agent.mcp_servers: this server does not"),
        ({"skills": [{"type": "custom", "skill_id": "s"}]}, 400, "agent.skills: this server does not support skills"),
        ({"tools": [CUSTOM, CUSTOM]}, 400, "tools.1.name: "),
        ({"name": "x"}, 400, "agent.name: is not a field"),
        ({"id": "agent_unknown"}, 404, "agent: "),
    ],
)
async def test_a_refused_override_names_the_field_and_writes_nothing(
    served: Served, override: dict[str, Any], status: int, message: str
) -> None:
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    before = await served.snapshot()
    body = {"agent": {"type": "agent_with_overrides", "id": agent.id, **override}, "environment_id": environment.id}
    response = await served.http.post("/v1/sessions", json=body)
    assert (response.status_code, body_of(response)["error"]["message"][: len(message)]) == (status, message)
    assert await served.snapshot() == before


async def test_an_archived_agent_starts_no_session(served: Served) -> None:
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    await served.client.beta.agents.archive(agent.id)
    response = await served.http.post("/v1/sessions", json={"agent": agent.id, "environment_id": environment.id})
    assert response.status_code == 400
    assert "archived" in body_of(response)["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"vault_ids": ["vlt_1"]}, 400, "vault_ids: this server does not support vaults yet"),
        ({"budget": {"type": "limit"}}, 400, "budget: this server does not support budgets yet"),
        ({"environment_id": "env_unknown"}, 404, "There is no environment"),
        ({"resources": [{"type": "github_repository", "url": "u"}]}, 400, "resources.0: this server does not support"),
        ({"resources": [{"type": "memory_store", "memory_store_id": "m"}]}, 400, "resources.0: this server does not"),
        ({"resources": [{"type": "file"}]}, 400, "resources.0.file_id: is required"),
        ({"resources": [{"type": "file", "file_id": "file_x"}]}, 404, "resources.0.file_id: "),
        ({"initial_events": [HELLO] * 51}, 400, "initial_events: must have at most 50 entries"),
        ({"initial_events": [{"type": "user.interrupt"}]}, 400, "initial_events.0.type: must be one of"),
        ({"initial_events": [{"type": "user.message", "content": []}]}, 400, "initial_events.0.content: must have 1"),
        (
            {"initial_events": [{"type": "user.define_outcome", "description": "d", "rubric": {"type": "text"}}]},
            400,
            "initial_events.0.rubric.content: is required",
        ),
        (
            {
                "initial_events": [
                    {"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "c"}}
                ]
            },
            400,
            "initial_events.0.type: this server does not support 'user.define_outcome' yet",
        ),
        ({"title": 5}, 400, "title: must be a string"),
        ({"metadata": {"k": 5}}, 400, "metadata.k: must be a string"),
        ({"metadata": {"k" * 65: "v"}}, 400, "metadata."),
        ({"agent": {"type": "agent"}}, 400, "agent.id: is required"),
        ({"agent": {"type": "person", "id": "x"}}, 400, "agent.type: must be one of"),
        ({"agent": 5}, 400, "agent: must be a string or an object"),
        ({"agent": {"type": "agent", "id": "x", "version": 1 << 63}}, 400, "agent.version: must be "),
    ],
)
async def test_a_refused_session_names_the_field_and_writes_nothing(
    served: Served, fields: dict[str, Any], status: int, message: str
) -> None:
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    before = await served.snapshot()
    body = {"agent": agent.id, "environment_id": environment.id, **fields}
    response = await served.http.post("/v1/sessions", json=body)
    assert (response.status_code, body_of(response)["error"]["message"][: len(message)]) == (status, message)
    assert await served.snapshot() == before


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_in_both_orders(served: Served) -> None:
    made = [(await a_session(served.client)).id for _ in range(3)]
    sessions = served.client.beta.sessions
    assert [session.id async for session in await sessions.list(limit=2)] == made[::-1]
    assert [session.id async for session in await sessions.list(limit=2, order="asc")] == made


async def test_sessions_are_filtered(served: Served) -> None:
    sessions = served.client.beta.sessions
    agent = await an_agent(served.client)
    old = await a_session(served.client, agent=agent.id)
    await served.client.beta.agents.update(agent.id, name="second")
    new = await a_session(served.client, agent=agent.id)
    other = await a_session(served.client, initial_events=[HELLO])
    archived = await sessions.archive((await a_session(served.client)).id)

    async def found(**filters: Any) -> list[str]:
        return [session.id for session in whole((await sessions.list(**filters)).data)]

    assert await found(agent_id=agent.id) == [new.id, old.id]
    assert await found(agent_id=agent.id, agent_version=1) == [old.id]
    assert await found(statuses=["running"]) == [other.id]
    assert await found(statuses=["running", "idle"]) == [other.id, new.id, old.id]
    assert await found(include_archived=True, statuses=["terminated"]) == [archived.id]
    assert await found(created_at_gt=old.created_at, created_at_lt=other.created_at) == [new.id]
    assert await found(created_at_gte=new.created_at, created_at_lte=new.created_at) == [new.id]
    assert await found(deployment_id="depl_x") == await found(memory_store_id="memstore_x") == []


async def test_an_agent_version_needs_its_agent(served: Served) -> None:
    response = await served.http.get("/v1/sessions?agent_version=1")
    assert (response.status_code, body_of(response)["error"]["type"]) == (400, "invalid_request_error")


# --- updates ---------------------------------------------------------------------------------------------------------


async def test_an_update_of_title_and_metadata_is_told_with_only_what_changed(served: Served) -> None:
    sessions = served.client.beta.sessions
    session = await a_session(served.client, title="t", metadata={"a": "1", "b": "1"})
    changed = whole(await sessions.update(session.id, title=None, metadata={"a": None}))
    assert (changed.title, changed.metadata) == (None, {"b": "1"})
    assert changed.updated_at > session.updated_at
    await sessions.update(session.id, metadata={"b": None})
    first, second = [event.to_dict() for event in (await sessions.events.list(session.id)).data]
    assert first.keys() == {"id", "type", "processed_at", "title", "metadata"}
    assert (first["title"], first["metadata"]) == (None, {"b": "1"})
    assert second.keys() == {"id", "type", "processed_at"}


async def test_an_update_that_changes_nothing_tells_nothing(served: Served) -> None:
    sessions = served.client.beta.sessions
    session = await a_session(served.client, title="t")
    await sessions.update(session.id, title="t", metadata={"none": None})
    assert (await sessions.events.list(session.id)).data == []


async def test_an_update_of_the_tools_replaces_them_for_this_session_only(served: Served) -> None:
    agent = await an_agent(served.client, tools=[TOOLSET])
    session = await a_session(served.client, agent=agent.id)
    changed = whole(await served.client.beta.sessions.update(session.id, agent={"tools": [CUSTOM]}))
    assert [tool.type for tool in changed.agent.tools] == ["custom"]
    assert (await served.row(session.id)).config_rev == 1
    (event,) = (await served.client.beta.sessions.events.list(session.id)).data
    assert event.type == "session.updated"
    assert event.agent == changed.agent
    assert (await served.client.beta.agents.retrieve(agent.id)).version == 1


async def test_the_tools_cannot_change_while_it_runs_but_the_title_can(served: Served) -> None:
    session = await a_session(served.client, initial_events=[HELLO])
    response = await served.http.post(f"/v1/sessions/{session.id}", json={"agent": {"tools": [CUSTOM]}})
    assert response.status_code == 400
    assert "user.interrupt" in body_of(response)["error"]["message"]
    assert (await served.client.beta.sessions.update(session.id, title="new")).title == "new"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vault_ids": []}, "vault_ids: "),
        ({"budget": {"type": "limit"}}, "budget: this server does not support budgets yet"),
        ({"agent": {"model": OLD}}, "agent.model: is not a field"),
        ({"agent": {"mcp_servers": [{}]}}, "agent.mcp_servers: this server does not support MCP servers yet"),
        ({"agent": {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}}, "tools.0.mcp_server_name: "),
        ({"environment_id": "env_x"}, "environment_id: is not a field"),
    ],
)
async def test_a_refused_update_names_the_field_and_writes_nothing(
    served: Served, fields: dict[str, Any], message: str
) -> None:
    session = await a_session(served.client)
    before = await served.snapshot()
    response = await served.http.post(f"/v1/sessions/{session.id}", json=fields)
    assert (response.status_code, body_of(response)["error"]["message"][: len(message)]) == (400, message)
    assert await served.snapshot() == before


# --- endings ---------------------------------------------------------------------------------------------------------


async def test_an_archived_session_is_terminated_readable_and_closed(served: Served) -> None:
    sessions = served.client.beta.sessions
    session = await a_session(served.client)
    archived = whole(await sessions.archive(session.id))
    assert archived.status == "terminated"
    assert archived.archived_at is not None
    again = await sessions.archive(session.id)
    assert again.to_dict() == archived.to_dict()
    events = whole((await sessions.events.list(session.id)).data)
    assert [event.type for event in events] == ["session.thread_status_terminated", "session.status_terminated"]
    assert (await sessions.list()).data == []
    before = await served.snapshot()
    response = await served.http.post(f"/v1/sessions/{session.id}/events", json={"events": [HELLO]})
    assert (response.status_code, response.headers["x-should-retry"]) == (409, "false")
    assert body_of(response)["error"]["type"] == "conflict_error"
    assert (await served.http.post(f"/v1/sessions/{session.id}", json={"title": "x"})).status_code == 400
    assert await served.snapshot() == before


async def test_a_session_that_an_error_terminated_is_archived_without_a_second_ending(served: Served) -> None:
    session = await a_session(served.client)
    await served.emit(session.id, StatusTerminated())
    await served.turn_to(session.id, "terminated")
    archived = await served.client.beta.sessions.archive(session.id)
    assert archived.status == "terminated"
    events = (await served.client.beta.sessions.events.list(session.id)).data
    assert [event.type for event in events] == ["session.status_terminated"]


@pytest.mark.parametrize("status", ["running", "rescheduling"])
async def test_a_busy_session_is_neither_archived_nor_deleted(served: Served, status: Any) -> None:
    session = await a_session(served.client)
    await served.turn_to(session.id, status)
    before = await served.snapshot()
    for response in (
        await served.http.post(f"/v1/sessions/{session.id}/archive"),
        await served.http.delete(f"/v1/sessions/{session.id}"),
    ):
        assert response.status_code == 400
        assert "user.interrupt" in body_of(response)["error"]["message"]
    assert await served.snapshot() == before


async def test_a_deleted_session_takes_its_events_and_files_along_and_leaves_the_originals(served: Served) -> None:
    client = served.client
    original = await client.beta.files.upload(file=("a.txt", b"a"))
    session = await a_session(client, resources=[{"type": "file", "file_id": original.id}])
    await client.beta.sessions.events.send(session.id, events=[HELLO])
    deleted = whole(await client.beta.sessions.delete(session.id))
    assert (deleted.id, deleted.type) == (session.id, "session_deleted")
    for path in ("", "/events", "/threads", "/resources"):
        assert (await served.http.get(f"/v1/sessions/{session.id}{path}")).status_code == 404
    assert await served.store.log.last_input(session.id) == 0
    assert [file.id for file in (await client.beta.files.list()).data] == [original.id]


async def test_archiving_fences_a_brain_that_is_about_to_start(served: Served) -> None:
    """Idle in its row, but claimed already: the claim's epoch is over once the session is archived."""
    session = await a_session(served.client)
    await served.client.beta.sessions.events.send(session.id, events=[HELLO])
    (claim,) = await served.store.queue.claim("brain", 1, now="9999", lease_until="9999")
    await served.client.beta.sessions.archive(session.id)
    row = await served.row(session.id)
    assert row.epoch == claim.epoch + 1
    assert row.wake_at is None


async def test_the_clock_of_a_terminated_session_stands_still(served: Served) -> None:
    session = await a_session(served.client, agent=(await an_agent(served.client, model=KNOWN)).id)
    await served.client.beta.sessions.archive(session.id)
    first = await served.client.beta.sessions.retrieve(session.id)
    second = await served.client.beta.sessions.retrieve(session.id)
    assert first.stats == second.stats
