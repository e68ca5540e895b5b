"""run, tail, ps, kill and keys against a real server."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anthropic
import pytest

from roost.cli.agents import new_session
from roost.cli.connection import answers, client
from roost.cli.follow import follow, say, turn_ended
from roost.cli.private import PrivateServer, private_server
from roost.core.telemetry import redact
from tests.cli.conftest import Roost, clean_environ

SLEEPS = "sleep 300"


def plan(*steps: dict[str, object]) -> str:
    return "\n".join(["Do it.", "```roost-script", *(json.dumps(step) for step in steps), "```"])


def bash(command: str) -> dict[str, object]:
    return {"tools": [{"name": "bash", "input": {"command": command}}]}


def begin(api: anthropic.Anthropic, text: str) -> str:
    """A session that has begun to work on the message."""
    session = new_session(api, name="test", model="scripted", title="A title")
    for event in follow(api, session.id, send=lambda: say(api, session.id, text)):
        if event.type in ("agent.tool_use", "session.status_idle"):
            break
    return session.id


@pytest.mark.sandbox
def test_run_shows_the_work_and_downloads_the_result(sandboxed: PrivateServer, roost: Roost, tmp_path: Path) -> None:
    task = plan(bash("echo made > /mnt/session/outputs/result.txt; echo heard"), {"text": "It said {{last_result}}."})
    result = roost("run", task, "--model", "scripted", "--output", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "* bash" in result.output
    assert "It said heard" in result.output
    (written,) = tmp_path.rglob("result.txt")
    assert written.read_text() == "made\n"
    assert f"wrote {written}" in result.output


def test_run_leaves_no_agent_and_no_environment_in_use(api: anthropic.Anthropic, roost: Roost, tmp_path: Path) -> None:
    before = in_use(api)
    result = roost("run", plan({"text": "Well."}), "--model", "scripted", "--output", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert in_use(api) == before
    session = result.output.splitlines()[0].split()[-1]
    for event in follow(api, session, send=lambda: say(api, session, plan({"text": "It goes on."}))):
        if turn_ended(event):
            break
    assert "It goes on." in roost("tail", session, "--past").output


def in_use(api: anthropic.Anthropic) -> set[str]:
    return {made.id for made in (*api.beta.agents.list(), *api.beta.environments.list())}


def test_run_fails_when_the_turn_fails(roost: Roost, tmp_path: Path) -> None:
    result = roost("run", plan({"error": "request_failed"}), "--model", "scripted", "--output", str(tmp_path))
    assert result.exit_code == 1
    assert "model_request_failed_error" in result.output


@pytest.mark.sandbox
def test_ctrl_c_interrupts_the_agent_and_ends_run_at_its_idle(sandboxed: PrivateServer, tmp_path: Path) -> None:
    environ = clean_environ(ROOST_URL=sandboxed.url, ROOST_API_KEY=sandboxed.api_key)
    command = [sys.executable, "-m", "roost.cli", "run", plan(bash(SLEEPS)), "--output", str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "* bash" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(30) == 130
    assert "- idle: end_turn" in rest


@pytest.mark.sandbox
def test_run_starts_a_server_of_its_own_where_none_answers_and_stops_it(
    sandboxed: PrivateServer, tmp_path: Path
) -> None:
    environ = clean_environ(ROOST_URL="http://127.0.0.1:9", ROOST_DATA_DIR=str(tmp_path / "data"))
    command = [sys.executable, "-m", "roost.cli", "run", plan({"text": "All well."}), "--output", str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no server answers; started one" in done.stdout
    assert "All well." in done.stdout


def test_tail_shows_what_has_happened(api: anthropic.Anthropic, roost: Roost) -> None:
    session = begin(api, plan({"text": "Hello."}))
    result = roost("tail", session, "--past")
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if not line.startswith("-")] == ["> Do it.", "Hello."]
    assert result.output.endswith("- idle: end_turn\n")


def test_tail_ends_with_the_session(api: anthropic.Anthropic, roost: Roost) -> None:
    session = begin(api, plan({"text": "Hello."}))
    api.beta.sessions.archive(session)
    assert roost("tail", session).output.endswith("- terminated\n")


@pytest.mark.sandbox
def test_kill_interrupts_a_session_that_works_and_archives_it_when_asked(
    sandboxed: PrivateServer, api: anthropic.Anthropic, roost: Roost
) -> None:
    session = begin(api, plan(bash(SLEEPS)))
    assert session in roost("ps", "--running").output
    result = roost("kill", session, "--archive")
    assert result.output == f"{session} is archived\n"
    assert session not in roost("ps").output
    assert api.beta.sessions.retrieve(session).archived_at is not None


def test_ps_lists_sessions_with_status_model_and_title(api: anthropic.Anthropic, roost: Roost) -> None:
    session = begin(api, plan({"text": "Hello."}))
    (line,) = [line for line in roost("ps", "--limit", "500").output.splitlines() if line.startswith(session)]
    assert line.split()[1] == "idle"
    assert line.endswith("scripted  A title")
    assert len(roost("ps", "--limit", "1").output.splitlines()) == 2


def test_a_session_that_does_not_exist_is_named_in_one_line(roost: Roost) -> None:
    result = roost("kill", "sesn_01nope")
    assert result.exit_code == 1
    assert result.output.startswith("Error: the server refused (404): ")


def test_a_key_that_was_made_works_and_a_revoked_one_does_not(server: PrivateServer, roost: Roost) -> None:
    kept, lost = (roost("keys", "create", name).output.splitlines()[0] for name in ("laptop", "lost"))
    listed = {line.split()[-1]: line for line in roost("keys", "list").output.splitlines()}
    assert "in use" in listed["lost"]
    assert lost not in listed["lost"]
    assert roost("keys", "revoke", listed["lost"].split()[0]).exit_code == 0
    assert "revoked" in roost("keys", "list").output
    with client(server.url, kept) as api:
        api.beta.agents.list()
    with client(server.url, lost) as api, pytest.raises(anthropic.AuthenticationError):
        api.beta.agents.list()


def test_a_key_of_an_environments_workers_opens_its_queue_only(
    server: PrivateServer, api: anthropic.Anthropic, roost: Roost
) -> None:
    environment = api.beta.environments.create(name="own machines", config={"type": "self_hosted"})
    made = roost("keys", "create", "worker", "--environment", environment.id).output
    assert "ANTHROPIC_ENVIRONMENT_KEY" in made
    with client(server.url, made.splitlines()[0]) as worker:
        assert worker.beta.environments.work.poll(environment.id) is None
        with pytest.raises(anthropic.PermissionDeniedError):
            worker.beta.agents.list()


def test_a_title_and_a_key_name_cannot_steer_the_terminal(api: anthropic.Anthropic, roost: Roost) -> None:
    session = begin(api, plan({"text": "Hello."}))
    api.beta.sessions.update(session, title="red\x1b[31m\nsesn_forged")
    (line,) = [line for line in roost("ps", "--limit", "500").output.splitlines() if line.startswith(session)]
    assert line.endswith(r"red\x1b[31m\nsesn_forged")
    refused = roost("keys", "create", "name\x9b31m")
    assert refused.exit_code == 1
    assert "name: must not hold control characters" in refused.output


def test_the_key_of_a_private_server_is_kept_out_of_logs(server: PrivateServer) -> None:
    assert redact(f"called with {server.api_key}.") == "called with [redacted]."


def test_nothing_of_uvicorn_surrounds_the_banner(tmp_path: Path) -> None:
    with private_server(tmp_path, clean_environ()):
        pass
    assert "uvicorn" not in (tmp_path / "server.log").read_text()


def test_a_private_server_is_gone_after_its_block(tmp_path: Path) -> None:
    with private_server(tmp_path, clean_environ()) as server:
        assert answers(server.url)
    assert not answers(server.url)


def test_a_private_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    """Its standard input closes then, whatever way the owner went."""
    program = (
        "import os, sys, pathlib\n"
        "from roost.cli.private import private_server\n"
        "with private_server(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    owner = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=clean_environ(), capture_output=True, text=True, check=False
    )
    assert owner.returncode == -signal.SIGKILL
    wait_for_end(int(owner.stdout))


def wait_for_end(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        assert poller.poll(30_000), f"process {pid} lives on"
    finally:
        os.close(handle)
