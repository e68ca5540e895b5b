"""Agents through the official SDK (contract/agents.md, behaviour/01 section 1.2)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from anthropic import ConflictError

from tests.contract.conftest import Served, body_of
from tests.contract.given import CUSTOM, TOOLSET, an_agent
from tests.contract.models import FOREIGN, KNOWN, OLD
from tests.contract.shape import whole

TOOL_NAMES = ["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"]


async def test_a_created_agent_is_answered_whole_with_its_defaults(served: Served) -> None:
    agent = whole(await an_agent(served.client))
    assert agent.id.startswith("agent_")
    assert (agent.version, agent.description, agent.system, agent.archived_at) == (1, None, None, None)
    assert (agent.tools, agent.mcp_servers, agent.skills, agent.metadata) == ([], [], [], {})
    assert (agent.multiagent, agent.execution_identity.type) == (None, "service_account")
    assert (agent.model.id, agent.model.speed, agent.model.inference_geo) == (KNOWN, "standard", None)
    assert agent.created_at == agent.updated_at


@pytest.mark.parametrize(("model", "effort"), [(KNOWN, "high"), (FOREIGN, None)])
async def test_effort_is_resolved_where_the_provider_says_that_the_model_has_it(
    served: Served, model: str, effort: str | None
) -> None:
    agent = await an_agent(served.client, model=model)
    assert (agent.model.effort.type if agent.model.effort else None) == effort


async def test_a_model_object_is_kept_as_it_is_sent(served: Served) -> None:
    sent = {"id": "any-model", "effort": "max", "speed": "fast", "inference_geo": "eu"}
    model = (await an_agent(served.client, model=sent)).model
    assert model.to_dict() == {**sent, "effort": {"type": "max"}}


async def test_an_agent_is_retrieved_as_it_was_answered(served: Served) -> None:
    agent = await an_agent(served.client, tools=[TOOLSET, CUSTOM], system="Be brief.", metadata={"team": "a"})
    assert whole(await served.client.beta.agents.retrieve(agent.id)) == agent


async def test_a_toolset_is_resolved_to_all_eight_tools(served: Served) -> None:
    ask = {"type": "always_ask"}
    toolset = {
        **TOOLSET,
        "default_config": {"permission_policy": ask},
        "configs": [
            {"name": "bash", "permission_policy": {"type": "always_allow"}},
            {"name": "write", "type": "write", "enabled": False},
            {"name": "web_fetch", "allowed_domains": ["example.com"], "url_sources": {"user_input": "none"}},
        ],
    }
    (resolved,) = whole((await an_agent(served.client, tools=[toolset])).tools)
    configs = {config.name: config for config in resolved.configs}
    assert list(configs) == TOOL_NAMES
    assert configs["bash"].permission_policy.type == "always_allow"
    assert configs["read"].permission_policy.type == "always_ask"
    assert [name for name, config in configs.items() if not config.enabled] == ["write"]
    assert configs["web_fetch"].allowed_domains == ["example.com"]
    assert configs["web_fetch"].url_sources.user_input.type == "none"
    assert (resolved.default_config.enabled, resolved.default_config.permission_policy.type) == (True, "always_ask")


async def test_a_custom_tool_is_echoed_with_its_schema_untouched(served: Served) -> None:
    schema = {**CUSTOM["input_schema"], "additionalProperties": False, "$comment": "kept"}
    response = await served.http.post(
        "/v1/agents", json={"name": "a", "model": KNOWN, "tools": [{**CUSTOM, "input_schema": schema}]}
    )
    assert body_of(response)["tools"] == [{**CUSTOM, "input_schema": schema}]


async def test_enabled_tools_that_are_not_built_are_named_in_a_warning(served: Served) -> None:
    raw = await served.client.beta.agents.with_raw_response.create(name="a", model=KNOWN, tools=[TOOLSET])
    assert raw.headers["x-roost-warning"].startswith("web_fetch, web_search: ")
    off = {"enabled": False}
    toolset: Any = {**TOOLSET, "configs": [{"name": "web_fetch", **off}, {"name": "web_search", **off}]}
    raw = await served.client.beta.agents.with_raw_response.create(name="a", model=KNOWN, tools=[toolset])
    assert "x-roost-warning" not in raw.headers


# --- updates ---------------------------------------------------------------------------------------------------------


async def test_an_update_makes_a_version_and_keeps_what_it_leaves_out(served: Served) -> None:
    agents = served.client.beta.agents
    first = await an_agent(served.client, system="One.", description="d", tools=[CUSTOM], metadata={"a": "1"})
    second = whole(await agents.update(first.id, version=1, system="Two."))
    assert (second.version, second.system, second.description) == (2, "Two.", "d")
    assert (second.tools, second.metadata, second.created_at) == (first.tools, first.metadata, first.created_at)
    assert second.updated_at > first.updated_at
    assert await agents.retrieve(first.id) == second
    assert await agents.retrieve(first.id, version=1) == first


async def test_an_update_that_changes_nothing_makes_no_version(served: Served) -> None:
    agents = served.client.beta.agents
    agent = await an_agent(served.client, tools=[TOOLSET], metadata={"a": "1"})
    same = await agents.update(
        agent.id, name="Writer", model=KNOWN, tools=[TOOLSET], metadata={"a": "1", "b": None}, system=None
    )
    assert same == agent
    assert [one.version for one in (await agents.versions.list(agent.id)).data] == [1]


async def test_clearing_follows_each_fields_rule(served: Served) -> None:
    agents = served.client.beta.agents
    agent = await an_agent(served.client, system="s", description="d", tools=[CUSTOM])
    cleared = await agents.update(agent.id, system="", description=None, tools=None)
    assert (cleared.system, cleared.description, cleared.tools) == (None, None, [])


@pytest.mark.parametrize("field", ["name", "model"])
async def test_name_and_model_cannot_be_cleared(served: Served, field: str) -> None:
    agent = await an_agent(served.client)
    response = await served.http.post(f"/v1/agents/{agent.id}", json={field: None})
    assert response.status_code == 400
    assert body_of(response)["error"]["message"].startswith(f"{field}: ")
    assert await served.client.beta.agents.retrieve(agent.id) == agent


async def test_a_models_effort_stays_while_the_model_does_and_its_region_does_not(served: Served) -> None:
    agents = served.client.beta.agents
    agent = await an_agent(served.client, model={"id": KNOWN, "effort": "low", "inference_geo": "eu"})
    same = await agents.update(agent.id, model={"id": KNOWN, "speed": "fast"})
    assert same.model.to_dict() == {"id": KNOWN, "effort": {"type": "low"}, "inference_geo": None, "speed": "fast"}
    assert (await agents.update(agent.id, model=OLD)).model.effort is None
    back = await agents.update(agent.id, model=KNOWN)
    assert back.model.effort is not None
    assert back.model.effort.type == "high"


async def test_metadata_is_merged_key_by_key(served: Served) -> None:
    agent = await an_agent(served.client, metadata={"keep": "1", "change": "1", "drop": "1"})
    merged = await served.client.beta.agents.update(agent.id, metadata={"change": "2", "drop": None, "new": ""})
    assert merged.metadata == {"keep": "1", "change": "2", "new": ""}


async def test_a_merge_may_not_pass_sixteen_pairs(served: Served) -> None:
    agent = await an_agent(served.client, metadata={str(number): "x" for number in range(16)})
    response = await served.http.post(f"/v1/agents/{agent.id}", json={"metadata": {"one more": "x"}})
    assert response.status_code == 400
    assert "17 pairs" in body_of(response)["error"]["message"]


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_agents_are_listed_newest_first_page_by_page(served: Served) -> None:
    made = [(await an_agent(served.client, name=str(number))).id for number in range(5)]
    page = await served.client.beta.agents.list(limit=2)
    assert [agent.id for agent in page.data] == made[:2:-1]
    assert [agent.id async for agent in page] == made[::-1]


async def test_agents_are_filtered_by_the_time_of_their_making(served: Served) -> None:
    agents = [await an_agent(served.client) for _ in range(3)]
    middle = agents[1].created_at
    ids = [agent.id for agent in agents]
    listed = await served.client.beta.agents.list(created_at_gte=middle)
    assert [agent.id for agent in listed.data] == [ids[2], ids[1]]
    listed = await served.client.beta.agents.list(created_at_lte=middle - timedelta(microseconds=1))
    assert [agent.id for agent in listed.data] == [ids[0]]


async def test_versions_are_listed_newest_first(served: Served) -> None:
    agent = await an_agent(served.client)
    for number in range(2, 5):
        await served.client.beta.agents.update(agent.id, name=str(number))
    page = await served.client.beta.agents.versions.list(agent.id, limit=3)
    assert [version.version async for version in page] == [4, 3, 2, 1]
    whole(page.data)


# --- archive ---------------------------------------------------------------------------------------------------------


async def test_an_archived_agent_is_read_only_and_hidden_from_lists(served: Served) -> None:
    agents = served.client.beta.agents
    agent = await an_agent(served.client)
    await agents.update(agent.id, name="second")
    archived = whole(await agents.archive(agent.id))
    assert archived.archived_at is not None
    assert archived.version == 2
    assert await agents.archive(agent.id) == archived
    assert await agents.retrieve(agent.id) == archived
    assert (await agents.retrieve(agent.id, version=1)).archived_at == archived.archived_at
    assert (await agents.list()).data == []
    assert (await agents.list(include_archived=True)).data == [archived]
    response = await served.http.post(f"/v1/agents/{agent.id}", json={"name": "third"})
    assert response.status_code == 400
    assert "archived" in body_of(response)["error"]["message"]


async def test_two_updates_at_once_both_take_effect_as_versions_of_their_own(served: Served) -> None:
    agent = await an_agent(served.client)
    update = served.client.beta.agents.update
    await asyncio.gather(*(update(agent.id, metadata={str(number): "x"}) for number in range(4)))
    last = await served.client.beta.agents.retrieve(agent.id)
    assert (last.version, set(last.metadata)) == (5, {"0", "1", "2", "3"})


async def test_of_two_locked_updates_at_once_one_is_refused(served: Served) -> None:
    agent = await an_agent(served.client)
    update = served.client.beta.agents.update
    outcomes = await asyncio.gather(*(update(agent.id, version=1, name=name) for name in "ab"), return_exceptions=True)
    assert sorted(isinstance(outcome, ConflictError) for outcome in outcomes) == [False, True]
