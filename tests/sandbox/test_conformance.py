"""The bubblewrap backend keeps the promises of the interface, as root and as a plain user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.sandbox.conformance import CHECKS, Bench
from tests.sandbox.plain import ROOT, as_plain_user, plain_home, plain_python

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize("name", CHECKS)
async def test_the_backend_conforms(name: str, bench: Bench) -> None:
    await CHECKS[name](bench)


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests already run as a plain user")
def test_the_backend_conforms_as_a_plain_user(why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    with plain_home() as home:
        tests = [
            str(Path(__file__)),
            "-k",
            "test_the_backend_conforms and not plain_user",
            "-c",
            str(ROOT / "pyproject.toml"),
            "--rootdir",
            str(ROOT),
        ]
        ran = as_plain_user([plain_python(home), "-m", "pytest", *tests, "--basetemp", str(home / "t")], home)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert f"{len(CHECKS)} passed" in ran.stdout


def test_ci_really_runs_sandboxes(why_not: str) -> None:
    """Elsewhere a machine without sandboxes skips these tests and says why; there it must not look green."""
    if "CI" not in os.environ and why_not:
        pytest.skip(why_not)
    assert why_not == ""
