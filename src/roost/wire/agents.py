"""Agents and their versions (contract/agents.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from roost.wire.fields import (
    NOT_CLEARED,
    Description,
    Id,
    Metadata,
    MetadataPatch,
    Name,
    NoMultiagent,
    NoServers,
    NoSkills,
    Version,
    shorthand,
    unbuilt_value,
)
from roost.wire.shape import Params, Wire
from roost.wire.tools import TOOLS_MAX, Tool, ToolParams

SYSTEM_CHARS_MAX = 100_000

System = Annotated[str, StringConstraints(max_length=SYSTEM_CHARS_MAX)]
Level = Literal["low", "medium", "high", "xhigh", "max"]
Speed = Literal["standard", "fast"]
Tools = Annotated[list[ToolParams], Field(max_length=TOOLS_MAX)]


class Effort(Wire):
    type: Level


EffortParam = Annotated[Effort, BeforeValidator(shorthand("type"), json_schema_input_type=Effort | Level)]


class ModelConfigParams(Params):
    """Any model id: which ones can run depends on the providers that are set up."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    effort: EffortParam | None = None
    inference_geo: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    speed: Speed | None = None


ModelParam = Annotated[
    ModelConfigParams, BeforeValidator(shorthand("id"), json_schema_input_type=ModelConfigParams | str)
]
"""A model id, or an object with more settings."""


class ExecutionIdentityParams(Params):
    type: Annotated[Literal["service_account", "aws_role"], AfterValidator(unbuilt_value("aws_role"))]
    role_arn: Annotated[str, StringConstraints(max_length=2048)] | None = None


class AgentCreate(Params):
    model: ModelParam
    name: Name
    description: Description | None = None
    system: System | None = None
    tools: Tools = []
    mcp_servers: NoServers = None
    skills: NoSkills = None
    multiagent: NoMultiagent = None
    execution_identity: ExecutionIdentityParams | None = None
    metadata: Metadata = {}


class AgentUpdate(Params):
    """What is left out stays. `version`, when sent, must be the current one, or the call is a 409."""

    version: Version | None = None
    model: Annotated[ModelParam | None, NOT_CLEARED] = None
    name: Annotated[Name | None, NOT_CLEARED] = None
    description: Description | None = None
    system: System | None = None
    tools: Tools | None = None
    mcp_servers: NoServers = None
    skills: NoSkills = None
    multiagent: NoMultiagent = None
    execution_identity: ExecutionIdentityParams | None = None
    metadata: MetadataPatch | None = None


class ModelConfig(Wire):
    """Resolved. `effort` is null where nobody set it and the model's own default is not known to be one."""

    id: str
    effort: Effort | None
    inference_geo: str | None
    speed: Speed


class ExecutionIdentity(Wire):
    type: Literal["service_account"] = "service_account"


class AgentConfig(Wire):
    """What of an agent decides how it works; sessions keep a copy of it."""

    id: Id
    type: Literal["agent"] = "agent"
    version: int
    name: str
    description: str | None
    system: str | None
    model: ModelConfig
    tools: list[Tool]
    mcp_servers: list[dict[str, Any]] = []
    skills: list[dict[str, Any]] = []
    execution_identity: ExecutionIdentity = ExecutionIdentity()


class SessionAgent(AgentConfig):
    """An agent as a session sees it: a copy that later updates of the agent never touch."""

    multiagent: dict[str, Any] | None = None


class Agent(SessionAgent):
    metadata: dict[str, str]
    created_at: str
    updated_at: str
    archived_at: str | None = None
