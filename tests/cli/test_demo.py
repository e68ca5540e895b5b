"""The demo passes when every link holds, and fails with its reason when any one is broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anthropic
import pytest

from roost.cli.demo import demonstrate
from roost.cli.demo_task import PROGRAM, scripted_task
from roost.cli.private import PrivateServer
from roost.cli.proof import REPORT_PATH, BrokenProof, digest, namespaces_of
from tests.cli.conftest import clean_environ

pytestmark = pytest.mark.sandbox
DEMO = [sys.executable, "-m", "roost.cli", "demo"]


def canned(namespaces: dict[str, str], nonce: str) -> str:
    """A plan that writes a report without running anything."""
    report = json.dumps({"namespaces": namespaces, "sha256": digest(nonce, namespaces)})
    write = {"name": "write", "input": {"file_path": REPORT_PATH, "content": report}}
    return f"```roost-script\n{json.dumps({'tools': [write]})}\n{json.dumps({'text': 'Done.'})}\n```"


def test_the_demo_passes_as_a_user_runs_it(sandboxed: PrivateServer) -> None:
    done = subprocess.run(DEMO, env=clean_environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "Isolation  bubblewrap",
        "Model      scripted, which plays a plan",
        "Verified   report.json",
        "roost run",
    ):
        assert said in done.stdout


def test_the_demo_fails_without_a_sandbox(tmp_path: Path) -> None:
    """A machine without bubblewrap, as far as the server can see."""
    for program in ("env", "sh"):
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    done = subprocess.run(DEMO, env=clean_environ(PATH=str(tmp_path)), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the demo failed: this machine gives no sandbox" in done.stderr


def test_the_demo_fails_when_nothing_comes_back_through_the_files_api(
    sandboxed: PrivateServer, api: anthropic.Anthropic, tmp_path: Path
) -> None:
    elsewhere = PROGRAM.replace(REPORT_PATH, "/workspace/report.json")
    assert elsewhere != PROGRAM
    with pytest.raises(BrokenProof, match=r"no report\.json came back"):
        demonstrate(api, sandboxed, "scripted", tmp_path, lambda nonce: scripted_task(nonce, elsewhere))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (lambda server, nonce: canned({**server, "pid": "pid:[1]"}, "another"), "did not run now"),
        (lambda server, nonce: canned(server, nonce), "shared the server's pid, net, mnt, user namespace"),
        (lambda server, nonce: '```roost-script\n{"error": "request_failed"}\n```', "ended with retries_exhausted"),
        (lambda server, nonce: "no plan at all", "no report.json came back"),
    ],
    ids=["an old result", "a result from outside", "a turn that fails", "a model that does nothing"],
)
def test_the_demo_fails_for_a_result_that_was_not_made_now_and_apart(
    sandboxed: PrivateServer,
    api: anthropic.Anthropic,
    tmp_path: Path,
    plan: Callable[[dict[str, str], str], str],
    reason: str,
) -> None:
    outside = namespaces_of(sandboxed.pid)
    with pytest.raises(BrokenProof, match=reason):
        demonstrate(api, sandboxed, "scripted", tmp_path, lambda nonce: plan(outside, nonce))
