"""Which MCP servers a session's agent may declare, given where the session's environment may reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from roost.proxy.rules import Rules
from roost.store.protocols import ObjectRow
from roost.wire.environments import CloudConfig, Limited, mcp_hosts
from roost.wire.errors import invalid


def require_reachable(environment: ObjectRow, mcp_servers: Iterable[Mapping[str, Any]]) -> None:
    """Raises ApiError (400) for a server that limited networking does not let out to (behaviour/03 section 3.2)."""
    config = orjson.loads(environment.body)["config"]
    if config["type"] == "cloud":
        _check(CloudConfig.model_validate(config), mcp_servers)


def _check(config: CloudConfig, mcp_servers: Iterable[Mapping[str, Any]]) -> None:
    networking = config.networking
    if not isinstance(networking, Limited) or networking.allow_mcp_servers:
        return
    rules = Rules(networking)
    for host in mcp_hosts(mcp_servers):
        if not rules.allow(host):
            raise invalid(
                f"agent.mcp_servers: {host} is not among the environment's allowed hosts; add it to "
                "networking.allowed_hosts, or set networking.allow_mcp_servers"
            )
