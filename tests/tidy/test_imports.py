"""Who may import whom, and how much `roost --help` may cost."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.tidy.tree import ROOT

HELP = "from roost.cli import main; main(['--help'], standalone_mode=False)"
HELP_MS_MAX = 300
HEAVY = ("anthropic", "starlette", "uvicorn", "pydantic", "httpx2", "apsw", "roost.server", "roost.api", "asyncio")


def test_the_floors_of_the_house_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_help_loads_nothing_heavy() -> None:
    program = f"{HELP}\nimport sys\nprint('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert "roost.cli" in loaded
    assert set(HEAVY).intersection(loaded) == set()


def test_help_answers_within_its_budget() -> None:
    """The best of several: a busy machine can only make it slower."""

    def once() -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=True)
        return (time.perf_counter() - begin) * 1000

    assert min(once() for _ in range(5)) < HELP_MS_MAX
