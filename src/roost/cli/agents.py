"""What a task needs before its session can begin, and putting it away afterwards."""

from __future__ import annotations

import anthropic
from anthropic.types.beta import BetaManagedAgentsSession


def new_session(client: anthropic.Anthropic, *, name: str, model: str, title: str) -> BetaManagedAgentsSession:
    """An agent with all built-in tools, an environment with an open network, and a session of the two."""
    agent = client.beta.agents.create(name=name, model=model, tools=[{"type": "agent_toolset_20260401"}])
    environment = client.beta.environments.create(
        name=f"{name} {agent.id[-8:]}", config={"type": "cloud", "networking": {"type": "unrestricted"}}
    )
    return client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title=title)


def put_away(client: anthropic.Anthropic, session: BetaManagedAgentsSession) -> None:
    """Archive the agent and the environment made for one session. The session keeps its copies and can go on."""
    client.beta.agents.archive(session.agent.id)
    client.beta.environments.archive(session.environment_id)
