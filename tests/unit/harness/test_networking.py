"""What a sandbox may reach: the environment's rules, and the hosts of MCP servers where they let those be reached."""

from __future__ import annotations

from typing import Any

from roost.harness.calls import networking
from roost.sandbox.interface import Networking

LIMITED: dict[str, Any] = {"type": "limited", "allowed_hosts": ["ok.test"]}
SERVERS = [
    {"type": "url", "name": "one", "url": "https://MCP.test:8443/sse"},
    {"type": "url", "name": "two", "url": "https://mcp.test/other"},
]
SESSION = {"agent": {"mcp_servers": SERVERS}}


def test_mcp_hosts_are_open_once_each_where_the_environment_says_so() -> None:
    rules = {"networking": {**LIMITED, "allow_mcp_servers": True}}
    assert networking(rules, SESSION) == Networking("limited", ("ok.test", "mcp.test"))
    assert networking({"networking": LIMITED}, SESSION) == Networking("limited", ("ok.test",))


def test_without_rules_nothing_is_let_out() -> None:
    assert networking({}, SESSION) == Networking("limited")
    assert networking({"networking": {"type": "unrestricted"}}, SESSION) == Networking("unrestricted")
