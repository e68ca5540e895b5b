"""What an agent's tools mean: which are offered, and who may run them."""

from __future__ import annotations

from typing import Any

from roost.harness.tools.toolset import BUILT_IN, Toolset
from roost.sandbox.interface import TOOL_NAMES

ALLOW = {"type": "always_allow"}
ASK = {"type": "always_ask"}
LOOK = {
    "type": "custom",
    "name": "look",
    "description": "Looks.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}},
}


def toolset(
    *configs: dict[str, Any], enabled: bool = True, policy: dict[str, str] = ALLOW, custom: tuple[Any, ...] = ()
) -> Toolset:
    built_in = {
        "type": "agent_toolset_20260401",
        "default_config": {"enabled": enabled, "permission_policy": policy},
        "configs": list(configs),
    }
    return Toolset((built_in, *custom))


def config(name: str, enabled: bool = True, policy: dict[str, str] = ALLOW) -> dict[str, Any]:
    return {"name": name, "enabled": enabled, "permission_policy": policy}


def test_every_tool_of_the_sandbox_is_described() -> None:
    assert tuple(BUILT_IN) == TOOL_NAMES


def test_an_agent_without_tools_has_none() -> None:
    assert Toolset(()).definitions == ()


def test_the_toolset_offers_what_runs_in_the_sandbox_and_nothing_that_is_not_built() -> None:
    offered = toolset(config("web_search"), config("web_fetch")).definitions
    assert tuple(tool["name"] for tool in offered) == TOOL_NAMES


def test_a_tool_that_is_off_is_not_offered_and_may_not_run() -> None:
    tools = toolset(config("grep", enabled=False))
    assert "grep" not in {tool["name"] for tool in tools.definitions}
    verdict = tools.judge("grep")
    assert (verdict.permission, verdict.evaluation) == ("deny", None)


def test_a_single_tool_can_be_on_where_the_others_are_off() -> None:
    tools = toolset(config("bash"), enabled=False)
    assert [tool["name"] for tool in tools.definitions] == ["bash"]


def test_a_tools_own_policy_wins_over_the_default() -> None:
    tools = toolset(config("read", policy=ALLOW), policy=ASK)
    assert tools.judge("read").permission == "allow"
    assert tools.judge("bash").permission == "ask"
    evaluation = tools.judge("bash").evaluation
    assert evaluation is not None
    assert evaluation.type == "always_ask"


def test_an_unknown_tool_may_not_run() -> None:
    assert toolset().judge("teleport").permission == "deny"


def test_custom_tools_are_offered_with_their_schema_after_the_built_in_ones() -> None:
    tools = toolset(custom=(LOOK,))
    assert tools.definitions[-1] == {key: LOOK[key] for key in ("name", "description", "input_schema")}
    assert list(tools.custom) == ["look"]
