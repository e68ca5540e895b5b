"""What the agent did (contract/events.md, agent.*)."""

from __future__ import annotations

from typing import Any, Literal

from roost.wire.events.content import TextBlock
from roost.wire.events.event import Event
from roost.wire.shape import Wire

Permission = Literal["allow", "ask", "deny"]


class Evaluation(Wire):
    """Which policy produced the permission. `auto` carries its own verdict and is not built yet."""

    type: Literal["always_allow", "always_ask"]


class AgentMessage(Event):
    type: Literal["agent.message"] = "agent.message"
    content: list[TextBlock]


class AgentThinking(Event):
    """A sign of progress; thinking itself is never shown."""

    type: Literal["agent.thinking"] = "agent.thinking"


class AgentToolUse(Event):
    """A call of a built-in tool: the durable intent. Its id is the call's idempotency key."""

    type: Literal["agent.tool_use"] = "agent.tool_use"
    name: str
    input: dict[str, Any]
    evaluated_permission: Permission | None = None
    evaluation: Evaluation | None = None
    session_thread_id: str | None = None


class AgentToolResult(Event):
    type: Literal["agent.tool_result"] = "agent.tool_result"
    tool_use_id: str
    content: list[dict[str, Any]] | None = None
    is_error: bool | None = None


class AgentCustomToolUse(Event):
    """A call that the API's client answers."""

    type: Literal["agent.custom_tool_use"] = "agent.custom_tool_use"
    name: str
    input: dict[str, Any]
    session_thread_id: str | None = None
