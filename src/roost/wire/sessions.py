"""Sessions and threads (contract/sessions.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from roost.wire.agents import AgentConfig, ModelParam, SessionAgent, System, Tools
from roost.wire.errors import ApiError
from roost.wire.events.session import UsageSnapshot
from roost.wire.events.user import SendParams, UserDefineOutcomeParams, UserMessageParams
from roost.wire.fields import (
    Id,
    Metadata,
    MetadataPatch,
    NoBudget,
    NoServers,
    NoSkills,
    NoVaults,
    Version,
    shorthand,
)
from roost.wire.resources import RESOURCES_MAX, FileResource, FileResourceParams
from roost.wire.shape import Params, Wire

INITIAL_EVENTS_MAX = 50
TITLE_CHARS_MAX = 1_000

Title = Annotated[str, StringConstraints(max_length=TITLE_CHARS_MAX)]
"""Free text, the first line of a task for instance; whoever shows it sees to its line breaks."""
Status = Literal["rescheduling", "running", "idle", "terminated"]


class AgentReference(Params):
    """The newest version, unless one is named."""

    type: Literal["agent"]
    id: Id
    version: Version | None = None


class AgentOverrides(Params):
    """An agent with some fields replaced whole, for one session: left out inherits, null or [] clears."""

    type: Literal["agent_with_overrides"]
    id: Id
    version: Version | None = None
    model: ModelParam | None = None
    system: System | None = None
    tools: Tools | None = None
    mcp_servers: NoServers = None
    skills: NoSkills = None


_Reference = Annotated[AgentReference | AgentOverrides, Field(discriminator="type")]
_expanded = BeforeValidator(shorthand("id", type="agent"), json_schema_input_type=_Reference | str)
AgentParam = Annotated[_Reference, _expanded]

InitialEvent = Annotated[UserMessageParams | UserDefineOutcomeParams, Field(discriminator="type")]


class SessionCreate(Params):
    agent: AgentParam
    environment_id: Id
    initial_events: Annotated[list[InitialEvent], Field(max_length=INITIAL_EVENTS_MAX)] = []
    resources: Annotated[list[FileResourceParams], Field(max_length=RESOURCES_MAX)] = []
    vault_ids: NoVaults = None
    budget: NoBudget = None
    title: Title | None = None
    metadata: Metadata = {}


class SessionAgentUpdate(Params):
    """Replaces whole; [] or null clears. From the next turn on, and for this session only."""

    tools: Tools | None = None
    mcp_servers: NoServers = None


class SessionUpdate(Params):
    agent: SessionAgentUpdate = SessionAgentUpdate()
    title: Title | None = None
    metadata: MetadataPatch | None = None
    budget: NoBudget = None
    vault_ids: Any = None
    """Always refused when sent: reserved (contract/sessions.md, Update body)."""


class Stats(Wire):
    """Seconds. Frozen at the last update once the session is terminated."""

    active_seconds: float
    duration_seconds: float


class Session(Wire):
    id: str
    type: Literal["session"] = "session"
    agent: SessionAgent
    environment_id: str
    status: Status
    title: str | None
    metadata: dict[str, str]
    resources: list[FileResource]
    vault_ids: list[str] = []
    budget: None = None
    outcome_evaluations: list[dict[str, Any]] = []
    stats: Stats
    usage: UsageSnapshot
    deployment_id: str | None = None
    created_at: str
    updated_at: str
    archived_at: str | None = None


class ThreadStats(Stats):
    startup_seconds: float | None = None


class Thread(Wire):
    """The primary thread. `stats` is null until it first ran, `usage` until it was first idle again."""

    id: str
    type: Literal["session_thread"] = "session_thread"
    session_id: str
    parent_thread_id: None = None
    agent: AgentConfig
    status: Status
    workflow_run_id: None = None
    stats: ThreadStats | None
    usage: UsageSnapshot | None
    created_at: str
    updated_at: str
    archived_at: str | None = None


def closed(session_id: str, *, final: bool = False) -> ApiError:
    """An archived or terminated session takes nothing more: 409, or 400 where `final`.

    What runs tools for a session tries a result again for minutes after a 409 (contract/sdk-helpers.md, point 10).
    """
    message = f"The session {session_id} is archived or terminated and accepts no events."
    return ApiError(400 if final else 409, message, retry=False)


EVENTS_MAX = 100
"""Events of one request."""


class EventsSend(Params):
    events: Annotated[list[SendParams], Field(min_length=1, max_length=EVENTS_MAX)]


EventType = Literal[
    "user.message",
    "user.interrupt",
    "user.tool_confirmation",
    "user.custom_tool_result",
    "user.tool_result",
    "user.define_outcome",
    "system.message",
    "agent.message",
    "agent.thinking",
    "agent.tool_use",
    "agent.tool_result",
    "agent.mcp_tool_use",
    "agent.mcp_tool_result",
    "agent.custom_tool_use",
    "agent.thread_message_sent",
    "agent.thread_message_received",
    "agent.thread_context_compacted",
    "session.status_running",
    "session.status_idle",
    "session.status_rescheduled",
    "session.status_terminated",
    "session.error",
    "session.updated",
    "session.usage",
    "session.thread_created",
    "session.thread_status_running",
    "session.thread_status_idle",
    "session.thread_status_rescheduled",
    "session.thread_status_terminated",
    "span.model_request_start",
    "span.model_request_end",
    "span.outcome_evaluation_start",
    "span.outcome_evaluation_ongoing",
    "span.outcome_evaluation_end",
    "workflow_run.created",
    "workflow_run.status_running",
    "workflow_run.status_idle",
    "workflow_run.status_ended",
    "workflow_run.phase_started",
    "workflow_run.phase_ended",
    "workflow_run.error",
]
"""What the `types[]` filter accepts: every stored type except `session.deleted`."""
