"""The demo's proof breaks when any link of it is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.cli.demo_task import PROGRAM
from roost.cli.proof import BrokenProof, check, digest, namespaces_of

NONCE = "n1"
INSIDE = {"pid": "pid:[2]", "net": "net:[2]", "mnt": "mnt:[2]", "user": "user:[2]"}
SERVER = {"pid": "pid:[1]", "net": "net:[1]", "mnt": "mnt:[1]", "user": "user:[1]"}


def report(nonce: str = NONCE, **namespaces: str) -> bytes:
    inside = {**INSIDE, **namespaces}
    return json.dumps({"namespaces": inside, "sha256": digest(nonce, inside)}).encode()


def test_a_report_made_now_and_apart_is_believed() -> None:
    assert check(report(), NONCE, SERVER) == INSIDE


def test_a_report_of_another_run_is_not_believed() -> None:
    with pytest.raises(BrokenProof, match="did not run now"):
        check(report("another"), NONCE, SERVER)


@pytest.mark.parametrize("kind", ["pid", "net", "mnt", "user"])
def test_a_program_that_shares_a_namespace_with_the_server_is_not_believed(kind: str) -> None:
    with pytest.raises(BrokenProof, match=f"shared the server's {kind} namespace"):
        check(report(**{kind: SERVER[kind]}), NONCE, SERVER)


@pytest.mark.parametrize("kind", ["pid", "net", "mnt", "user"])
def test_a_report_without_a_real_id_is_not_believed(kind: str) -> None:
    with pytest.raises(BrokenProof, match="no namespace ids"):
        check(report(**{kind: "anything"}), NONCE, SERVER)


@pytest.mark.parametrize("text", [b"", b"hello", b"[]", b"{}", b'{"namespaces": {}, "sha256": ""}', b"\xff"])
def test_a_file_that_is_no_report_is_not_believed(text: bytes) -> None:
    with pytest.raises(BrokenProof, match="not the report"):
        check(text, NONCE, SERVER)


def test_the_program_of_the_scripted_model_writes_what_is_checked(tmp_path: Path) -> None:
    """Run here, outside a sandbox, everything holds but the last link."""
    path = tmp_path / "report.json"
    program = PROGRAM.replace("/mnt/session/outputs/report.json", str(path))
    assert program != PROGRAM
    subprocess.run([sys.executable, "-c", program, NONCE], check=True, capture_output=True)
    assert check(path.read_bytes(), NONCE, SERVER) == namespaces_of(os.getpid())
    with pytest.raises(BrokenProof, match="was not in a sandbox"):
        check(path.read_bytes(), NONCE, namespaces_of(os.getpid()))
