"""No probe of the attack list reaches anything from a sandbox, and each one reaches something from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roost.sandbox.attacks import ATTACKS, HELD, REACHED

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]
NAMESPACES = ("--mount", "--pid", "--fork", "--mount-proc", "--net", "--uts", "--ipc", "--kill-child")
KERNEL_MAY_LACK = {
    "pull the kernel's trigger",
    "measure the kernel",
    "set up an io_uring",
    "handle page faults of the kernel",
    "open a block device",
}
"""What some kernels are built or set up without, so that the control cannot succeed."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, why_not: str) -> dict[str, Any]:
    if why_not:
        pytest.skip(why_not)
    if os.geteuid() != 0:
        pytest.skip("the controls need every privilege: run the tests as root")
    command = [
        "unshare",
        *NAMESPACES,
        sys.executable,
        "-m",
        "tests.sandbox.arena",
        str(tmp_path_factory.mktemp("arena")),
    ]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_a_harmless_look_finds_the_sandbox_closed(report: dict[str, Any]) -> None:
    assert report["open"] == "[]"


@pytest.mark.parametrize("name", ATTACKS)
def test_the_sandbox_holds_and_the_control_does_not(name: str, report: dict[str, Any]) -> None:
    assert report["sandbox"][name].splitlines()[-1] == HELD, report["sandbox"][name]
    control = report["control"][name]
    if control.splitlines()[-1] != REACHED and name in KERNEL_MAY_LACK:
        pytest.skip(f"no positive control on this kernel: {control}")
    assert control.splitlines()[-1] == REACHED, control
