"""The check at the end of the tests (`nothing_left_behind`) can fail: each kind of leak is made once, and found."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.cgroup import GROUP, ROOT
from tests.sandbox import leaks
from tests.sandbox.leaks import left_behind, traces

pytestmark = pytest.mark.sandbox

SOURCE = Path(__file__).parents[2]
LEAKING = """\
from tests.sandbox.conftest import backend, nothing_left_behind, why_not
from tests.sandbox import leaks
from roost.sandbox.interface import SandboxSpec

leaks.MOMENT_S = 1

async def test_that_leaks(tmp_path, why_not):
    from roost.sandbox.bubblewrap import BubblewrapBackend
    await (await BubblewrapBackend(tmp_path / "state").provision(SandboxSpec("leaked"))).release()

async def test_that_does_not(backend):
    await (await backend.provision(SandboxSpec("ended"))).release()
"""


def ran(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_leaking.py").write_text(LEAKING)
    options = ["-q", "-p", "no:cacheprovider", "-W", "ignore", "-c", str(SOURCE / "pyproject.toml")]
    command = [sys.executable, "-m", "pytest", *options, "--rootdir", str(folder), "--basetemp", str(folder / "t")]
    return subprocess.run(
        [*command, f"{folder}/test_leaking.py::{name}"], cwd=SOURCE, capture_output=True, text=True, timeout=50
    )


async def test_a_sandbox_that_is_left_behind_fails_the_tests(tmp_path: Path, why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    before = traces(tmp_path)
    clean = await asyncio.to_thread(ran, tmp_path, "test_that_does_not")
    assert clean.returncode == 0, clean.stdout
    leaky = await asyncio.to_thread(ran, tmp_path, "test_that_leaks")
    backend = BubblewrapBackend(tmp_path / "t/test_that_leaks0/state")
    assert await backend.living() == ["leaked"]
    await backend.forget("leaked")
    await backend.aclose()
    assert leaky.returncode != 0
    assert "has the folder mounted" in leaky.stdout
    assert not left_behind(tmp_path, before)


def test_an_empty_control_group_that_stays_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [parent for parent in (*ROOT.glob(f"*/{GROUP}"), ROOT / GROUP) if os.access(parent, os.W_OK)]
    if not parents:
        pytest.skip("no control groups can be made here")
    monkeypatch.setattr(leaks, "MOMENT_S", 0)
    before = traces(tmp_path)
    group = parents[0] / f"leaked-{os.getpid()}"
    group.mkdir()
    try:
        assert f"control group {group}" in left_behind(tmp_path, before)
    finally:
        group.rmdir()
    assert f"control group {group}" not in left_behind(tmp_path, before)
