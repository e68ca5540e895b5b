"""Tools of an agent, as sent and as answered (contract/agents.md, Tools)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import orjson
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from roost.wire.fields import unbuilt_value
from roost.wire.shape import Params, Wire
from roost.wire.web import Hosts, Sites, UrlSources, UserLocation

TOOLS_MAX = 256
"""Tools over all toolsets; the built-in toolset counts as eight."""

ToolName = Literal["bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search"]
SandboxToolName = Literal["bash", "read", "write", "edit", "glob", "grep"]
TOOL_NAMES: tuple[ToolName, ...] = get_args(ToolName)
UNBUILT_TOOLS: tuple[ToolName, ...] = ("web_fetch", "web_search")
"""Accepted, shown in the agent, and not offered to the model; replies say so in `x-roost-warning`."""

RESERVED_PREFIXES = ("mcp__", "ant__")


# --- as sent ---------------------------------------------------------------------------------------------------------


class PermissionPolicyParams(Params):
    type: Annotated[Literal["always_allow", "always_ask", "auto"], AfterValidator(unbuilt_value("auto"))]


class DefaultConfigParams(Params):
    enabled: bool | None = None
    permission_policy: PermissionPolicyParams | None = None


class _ConfigParams(DefaultConfigParams):
    @model_validator(mode="before")
    @classmethod
    def _type_repeats_the_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("type") not in (None, value.get("name")):
            raise ValueError("`type` must be the same as `name`")
        return value


class SandboxToolParams(_ConfigParams):
    name: SandboxToolName
    type: SandboxToolName | None = None


class _DomainParams(_ConfigParams):
    @model_validator(mode="after")
    def _one_list(self) -> _DomainParams:
        if getattr(self, "allowed_domains", None) and getattr(self, "blocked_domains", None):
            raise ValueError("`allowed_domains` and `blocked_domains` exclude each other")
        return self


class WebFetchParams(_DomainParams):
    name: Literal["web_fetch"]
    type: Literal["web_fetch"] | None = None
    allowed_domains: Hosts | None = None
    blocked_domains: Hosts | None = None
    max_content_tokens: Annotated[int, Field(ge=1)] | None = None
    url_sources: UrlSources | None = None


class WebSearchParams(_DomainParams):
    name: Literal["web_search"]
    type: Literal["web_search"] | None = None
    allowed_domains: Sites | None = None
    blocked_domains: Sites | None = None
    user_location: UserLocation | None = None


ToolConfigParams = Annotated[SandboxToolParams | WebFetchParams | WebSearchParams, Field(discriminator="name")]


class AgentToolsetParams(Params):
    type: Literal["agent_toolset_20260401"]
    configs: Annotated[list[ToolConfigParams], Field(max_length=len(TOOL_NAMES))] = []
    default_config: DefaultConfigParams | None = None


class McpToolConfigParams(DefaultConfigParams):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class McpToolsetParams(Params):
    """Names a server that `mcp_servers` must declare."""

    type: Literal["mcp_toolset"]
    mcp_server_name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    configs: Annotated[list[McpToolConfigParams], Field(max_length=TOOLS_MAX)] = []
    default_config: DefaultConfigParams | None = None


_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a value, itself included."""
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _objects(child)


def _input_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The rules of behaviour/03 section 3.4."""
    if schema.get("type") != "object":
        raise ValueError("`type` must be 'object'")
    if unions := {"oneOf", "anyOf", "allOf"} & schema.keys():
        raise ValueError(f"{sorted(unions)[0]} is not allowed at the top of the schema")
    if any("$ref" in part for part in _objects(schema)):
        raise ValueError("$ref is not allowed")
    properties, required = (schema.get(name) for name in ("properties", "required"))
    if not isinstance(properties, dict | None) or not all(_PROPERTY.fullmatch(name) for name in properties or ()):
        raise ValueError("`properties` must be an object with names of 1 to 64 letters, digits, '_', '.' and '-'")
    if not isinstance(required, list | None) or not all(isinstance(name, str) for name in required or ()):
        raise ValueError("`required` must be a list of strings")
    try:
        orjson.dumps(schema)
    except TypeError as error:
        raise ValueError(f"cannot be kept: {error}") from error
    return schema


InputSchema = Annotated[dict[str, Any], AfterValidator(_input_schema)]
"""A JSON schema of type object; kept as it was sent, other keywords included."""


class CustomTool(Params):
    """A tool that the API's client runs. Sent and answered in the same form."""

    type: Literal["custom"]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
    description: Annotated[str, StringConstraints(min_length=1)]
    input_schema: InputSchema


ToolParams = Annotated[AgentToolsetParams | McpToolsetParams | CustomTool, Field(discriminator="type")]


# --- as answered -----------------------------------------------------------------------------------------------------


class PermissionPolicy(Wire):
    type: Literal["always_allow", "always_ask"] = "always_allow"


class DefaultConfig(Wire):
    enabled: bool = True
    permission_policy: PermissionPolicy = PermissionPolicy()


class SandboxToolConfig(DefaultConfig):
    name: SandboxToolName
    type: SandboxToolName


class WebFetchConfig(DefaultConfig):
    name: Literal["web_fetch"]
    type: Literal["web_fetch"] = "web_fetch"
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    max_content_tokens: int | None = None
    url_sources: dict[str, Any] | None = None


class WebSearchConfig(DefaultConfig):
    name: Literal["web_search"]
    type: Literal["web_search"] = "web_search"
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    user_location: dict[str, Any] | None = None


ToolConfig = Annotated[SandboxToolConfig | WebFetchConfig | WebSearchConfig, Field(discriminator="name")]


class AgentToolset(Wire):
    """Fully resolved: all eight tools, each with its own setting."""

    type: Literal["agent_toolset_20260401"] = "agent_toolset_20260401"
    configs: list[ToolConfig]
    default_config: DefaultConfig


Tool = Annotated[AgentToolset | CustomTool, Field(discriminator="type")]
