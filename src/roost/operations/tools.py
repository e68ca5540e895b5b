"""From the tools a client asks for to the tools an agent has: resolved, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from pydantic import TypeAdapter

from roost.wire.errors import ApiError, invalid
from roost.wire.tools import (
    RESERVED_PREFIXES,
    TOOL_NAMES,
    TOOLS_MAX,
    UNBUILT_TOOLS,
    AgentToolset,
    AgentToolsetParams,
    CustomTool,
    DefaultConfig,
    DefaultConfigParams,
    McpToolsetParams,
    PermissionPolicy,
    Tool,
    ToolConfig,
    ToolConfigParams,
    ToolName,
    ToolParams,
)

WARNING_HEADER = "x-roost-warning"

_CONFIG: TypeAdapter[ToolConfig] = TypeAdapter(ToolConfig)
_TOOLS: TypeAdapter[list[Tool]] = TypeAdapter(list[Tool])


def resolved(tools: Sequence[ToolParams]) -> list[Tool]:
    """The tools as they are stored and answered. Raises ApiError that names the entry at fault."""
    names: set[str] = set()
    found: list[Tool] = []
    for place, tool in enumerate(tools):
        if isinstance(tool, McpToolsetParams):
            raise _at(place, "mcp_server_name", f"{tool.mcp_server_name!r} names no entry of mcp_servers")
        for name in _names(place, tool):
            if name in names:
                raise _at(place, "name", f"there is already a tool named {name!r}")
            names.add(name)
        found.append(_toolset(place, tool) if isinstance(tool, AgentToolsetParams) else tool)
    if len(names) > TOOLS_MAX:
        raise invalid(f"tools: {len(names)} tools over all toolsets; at most {TOOLS_MAX} are allowed")
    return found


def warnings(tools: Sequence[Tool]) -> Mapping[str, str]:
    """The reply header that names enabled tools which are not offered to the model."""
    enabled = [
        config.name
        for tool in tools
        if isinstance(tool, AgentToolset)
        for config in tool.configs
        if config.enabled and config.name in UNBUILT_TOOLS
    ]
    if not enabled:
        return {}
    return {WARNING_HEADER: f"{', '.join(enabled)}: not built in this server yet, and not offered to the model"}


def warnings_in(body: bytes) -> Mapping[str, str]:
    """The same for a reply that is encoded already, of the agent it shows: itself, or its session's."""
    shown = orjson.loads(body)
    return warnings(_TOOLS.validate_python(shown.get("agent", shown).get("tools", [])))


def _at(place: int, field: str, message: str) -> ApiError:
    return invalid(f"tools.{place}.{field}: {message}")


def _names(place: int, tool: AgentToolsetParams | CustomTool) -> tuple[str, ...]:
    if isinstance(tool, AgentToolsetParams):
        return TOOL_NAMES
    if tool.name in TOOL_NAMES:
        raise _at(place, "name", f"{tool.name!r} is the name of a built-in tool")
    if tool.name.startswith(RESERVED_PREFIXES):
        raise _at(place, "name", f"must not begin with {' or '.join(RESERVED_PREFIXES)}")
    return (tool.name,)


def _toolset(place: int, tool: AgentToolsetParams) -> AgentToolset:
    named = {config.name: config for config in tool.configs}
    if len(named) < len(tool.configs):
        raise _at(place, "configs", "the same tool is configured twice")
    default = _with_default(tool.default_config or DefaultConfigParams(), DefaultConfig())
    return AgentToolset(configs=[_tool(name, named.get(name), default) for name in TOOL_NAMES], default_config=default)


def _with_default(sent: DefaultConfigParams, default: DefaultConfig) -> DefaultConfig:
    """What was sent, with the default where it says nothing."""
    policy = sent.permission_policy
    return DefaultConfig(
        enabled=default.enabled if sent.enabled is None else sent.enabled,
        permission_policy=PermissionPolicy.model_validate(policy.model_dump()) if policy else default.permission_policy,
    )


def _tool(name: ToolName, sent: ToolConfigParams | None, default: DefaultConfig) -> ToolConfig:
    own = sent.model_dump(exclude=set(DefaultConfigParams.model_fields)) if sent else {}
    shared = _with_default(sent or DefaultConfigParams(), default).model_dump()
    return _CONFIG.validate_python({**own, **shared, "name": name, "type": name})
