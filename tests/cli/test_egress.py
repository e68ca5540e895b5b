"""roost egress: what a real sandbox was refused, as its user sees it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys

import anthropic
import pytest

from roost.cli.follow import follow, say, turn_ended
from roost.cli.private import PrivateServer
from tests.cli.conftest import Roost, clean_environ
from tests.cli.test_sessions import bash, plan

CAPTURED = "env -u http_proxy -u HTTP_PROXY -u ALL_PROXY -u all_proxy python3 -c "
GET = "'import urllib.request as u; u.urlopen(\"http://no.test/\", timeout=20)' 2>&1 | tail -1"


def tried(api: anthropic.Anthropic) -> str:
    """A session that may reach nothing and tried, with its proxy and without."""
    agent = api.beta.agents.create(name="a", model="scripted", tools=[{"type": "agent_toolset_20260401"}])
    environment = api.beta.environments.create(
        name="closed", config={"type": "cloud", "networking": {"type": "limited", "allowed_hosts": []}}
    )
    session = api.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    task = plan(bash(f"python3 -c {GET}"), bash(CAPTURED + GET), {"text": "{{last_result}}"})
    said = ""
    for event in follow(api, session.id, send=lambda: say(api, session.id, task)):
        if event.type == "agent.message":
            said = str(event.content)
        if turn_ended(event):
            break
    assert "HTTP Error 403" in said
    return session.id


@pytest.mark.sandbox
def test_refusals_are_shown_once_each_and_followed(
    sandboxed: PrivateServer, api: anthropic.Anthropic, roost: Roost
) -> None:
    session = tried(api)
    environ = clean_environ(ROOST_URL=sandboxed.url, ROOST_API_KEY=sandboxed.api_key)
    command = [sys.executable, "-m", "roost.cli", "egress", session, "--follow", "--refused"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = b""
        while seen.count(b"\n") < 2:
            assert select.select([process.stdout], [], [], 30)[0], seen
            seen += os.read(process.stdout.fileno(), 65_536)
        process.send_signal(2)
        assert process.wait(30) == 0
    lines = seen.decode().splitlines()
    assert [re.split(r"  +", line)[1:4] for line in lines] == [
        ["refused", "GET", "no.test:80"],
        ["refused", "CONNECT", "no.test:80"],
    ]
    assert all("networking.allowed_hosts" in line for line in lines)
    assert roost("egress", session).output.splitlines() == lines
    assert roost("egress", session, "--limit", "1").output.splitlines() == lines[1:]


def test_a_session_that_is_not_there_is_an_error(roost: Roost) -> None:
    result = roost("egress", "sesn_none")
    assert result.exit_code == 1
    assert "404" in result.output
