"""What many tests begin with."""

from __future__ import annotations

from typing import Any

from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaEnvironment, BetaManagedAgentsAgent, BetaManagedAgentsSession

from roost.wire.events.agent import AgentCustomToolUse, AgentToolUse, Evaluation
from tests.contract.models import KNOWN

TOOLSET: Any = {"type": "agent_toolset_20260401"}
CUSTOM: Any = {
    "type": "custom",
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
HELLO: Any = {"type": "user.message", "content": [{"type": "text", "text": "Hello"}]}


async def an_agent(client: AsyncAnthropic, **fields: Any) -> BetaManagedAgentsAgent:
    return await client.beta.agents.create(**{"name": "Writer", "model": KNOWN, **fields})


async def an_environment(client: AsyncAnthropic, **fields: Any) -> BetaEnvironment:
    return await client.beta.environments.create(**{"name": "Cloud", **fields})


async def a_session(client: AsyncAnthropic, **fields: Any) -> BetaManagedAgentsSession:
    """A session; its agent and environment are made where none is named."""
    if "agent" not in fields:
        fields["agent"] = (await an_agent(client)).id
    if "environment_id" not in fields:
        fields["environment_id"] = (await an_environment(client)).id
    return await client.beta.sessions.create(**fields)


def asking() -> AgentToolUse:
    """A call that awaits approval."""
    return AgentToolUse(
        name="bash", input={"command": "ls"}, evaluated_permission="ask", evaluation=Evaluation(type="always_ask")
    )


def custom_call() -> AgentCustomToolUse:
    return AgentCustomToolUse(name="weather", input={"city": "Paris"})
