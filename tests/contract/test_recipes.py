"""Recipes that need no brain (behaviour/08: 12, 13, 14 and 37); the others are in tests/recipes."""

from __future__ import annotations

import pytest
from anthropic import ConflictError

from tests.contract.conftest import Served
from tests.contract.given import CUSTOM, TOOLSET, a_session, an_agent, an_environment
from tests.contract.models import FOREIGN, KNOWN
from tests.contract.shape import whole


async def test_recipe_12_pin_and_roll_back_snapshots_never_move(served: Served) -> None:
    client = served.client
    environment = await an_environment(client)
    agent = await an_agent(client, system="First.")
    before = await a_session(client, agent=agent.id, environment_id=environment.id)
    await client.beta.agents.update(agent.id, version=1, system="Second.")
    pinned = await a_session(
        client, agent={"type": "agent", "id": agent.id, "version": 1}, environment_id=environment.id
    )
    newest = await a_session(client, agent=agent.id, environment_id=environment.id)
    assert [(one.agent.version, one.agent.system) for one in (before, pinned, newest)] == [
        (1, "First."),
        (1, "First."),
        (2, "Second."),
    ]
    await client.beta.agents.archive(agent.id)
    for session in (before, pinned, newest):
        assert (await client.beta.sessions.retrieve(session.id)).agent == session.agent


async def test_recipe_13_optimistic_update(served: Served) -> None:
    agents = served.client.beta.agents
    agent = await an_agent(served.client)
    second = await agents.update(agent.id, version=1, name="Second")
    with pytest.raises(ConflictError) as stale:
        await agents.update(agent.id, version=1, name="Second")
    assert stale.value.response.headers["x-should-retry"] == "false"
    assert stale.value.type == "conflict_error"
    assert await agents.update(agent.id, name="Second") == second
    assert (await agents.update(agent.id, name="Third")).version == 3


async def test_recipe_14_override_for_one_session(served: Served) -> None:
    client = served.client
    agent = await an_agent(client, system="Base.", tools=[TOOLSET], description="d")
    session = whole(
        await a_session(
            client,
            agent={
                "type": "agent_with_overrides",
                "id": agent.id,
                "model": {"id": FOREIGN, "effort": "low"},
                "system": None,
                "tools": [CUSTOM],
            },
        )
    )
    effective = session.agent
    assert (effective.id, effective.version, effective.name, effective.description) == (agent.id, 1, "Writer", "d")
    assert (effective.model.id, effective.system, [tool.type for tool in effective.tools]) == (
        FOREIGN,
        None,
        ["custom"],
    )
    assert effective.model.effort is not None
    assert effective.model.effort.type == "low"
    assert (await client.beta.agents.retrieve(agent.id)).model.id == KNOWN


async def test_recipe_37_pages_both_ways(served: Served) -> None:
    sessions = served.client.beta.sessions
    newest = [(await a_session(served.client)).id for _ in range(3)][::-1]
    first = await sessions.list(limit=1)
    assert ([one.id for one in first.data], first.prev_page) == ([newest[0]], None)
    assert first.next_page is not None
    second = await sessions.list(limit=1, page=first.next_page)
    assert [one.id for one in second.data] == [newest[1]]
    assert second.prev_page is not None
    assert second.next_page is not None
    third = await sessions.list(limit=1, page=second.next_page)
    assert ([one.id for one in third.data], third.next_page) == ([newest[2]], None)
    assert third.prev_page is not None
    back = await sessions.list(limit=1, page=third.prev_page)
    assert [one.id for one in back.data] == [newest[1]]
    assert back.prev_page is not None
    start = await sessions.list(limit=1, page=back.prev_page)
    assert ([one.id for one in start.data], start.prev_page) == ([newest[0]], None)
    assert start.next_page is not None
    again = await sessions.list(limit=2, page=start.next_page)
    assert [one.id for one in again.data] == newest[1:]
