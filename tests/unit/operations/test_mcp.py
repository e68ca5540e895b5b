"""A session whose agent declares an MCP server that its environment does not let out to is refused."""

from __future__ import annotations

from typing import Any

import pytest

from roost.operations.mcp import require_reachable
from roost.store.protocols import ObjectRow
from roost.wire.environments import CloudConfig
from roost.wire.errors import ApiError
from roost.wire.shape import encode

SERVERS = [{"type": "url", "name": "one", "url": "https://api.mcp.test/sse"}]


def environment(**networking: Any) -> ObjectRow:
    config = CloudConfig.model_validate({"networking": networking})
    return ObjectRow("w", "environment", "env_1", "", "", encode({"config": config.model_dump()}))


@pytest.mark.parametrize(
    "networking",
    [
        {"type": "unrestricted"},
        {"type": "limited", "allow_mcp_servers": True},
        {"type": "limited", "allowed_hosts": ["API.mcp.test"]},
        {"type": "limited", "allowed_hosts": ["*.mcp.test"]},
    ],
)
def test_a_server_that_is_covered_is_fine(networking: dict[str, Any]) -> None:
    require_reachable(environment(**networking), SERVERS)


def test_a_server_that_is_not_covered_is_named() -> None:
    with pytest.raises(ApiError, match=r"api\.mcp\.test") as refusal:
        require_reachable(environment(type="limited", allowed_hosts=["mcp.test"]), SERVERS)
    assert refusal.value.status == 400


def test_an_environment_elsewhere_has_no_rules_of_ours() -> None:
    row = ObjectRow("w", "environment", "env_1", "", "", encode({"config": {"type": "self_hosted"}}))
    require_reachable(row, SERVERS)
