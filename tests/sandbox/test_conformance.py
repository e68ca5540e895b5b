"""The bubblewrap backend keeps the promises of the interface, as root and as a plain user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.sandbox.conformance import CHECKS, Bench

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]
PLAIN_USER = 61_234
"""Nobody's id on any ordinary machine: neither a system's nor a person's."""
NEEDED = "import pytest, orjson, hypothesis, pytest_asyncio, roost"


@pytest.mark.parametrize("name", CHECKS)
async def test_the_backend_conforms(name: str, bench: Bench) -> None:
    await CHECKS[name](bench)


def as_plain_user(command: list[str], home: Path, **more: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "src"), *(entry for entry in sys.path if entry.endswith("site-packages"))])
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    ids = ["setpriv", f"--reuid={PLAIN_USER}", f"--regid={PLAIN_USER}", "--clear-groups", "--inh-caps=-all", "--"]
    return subprocess.run([*ids, *command], env=environment, cwd=home, capture_output=True, text=True, timeout=55)


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests already run as a plain user")
def test_the_backend_conforms_as_a_plain_user(tmp_path_factory: pytest.TempPathFactory, why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    home = Path("/tmp") / f"roost-plain-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, PLAIN_USER, PLAIN_USER)
    try:
        # The interpreter may lie where only root can go; a system's Python of the same version does as well.
        pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
        run_self = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
        usable = [python for python in pythons if works(python, run_self, home)]
        if not usable:
            pytest.skip(f"no interpreter that a plain user can run has what the tests need: {', '.join(pythons)}")
        tests = [
            str(Path(__file__)),
            "-k",
            "test_the_backend_conforms and not plain_user",
            "-c",
            str(ROOT / "pyproject.toml"),
            "--rootdir",
            str(ROOT),
        ]
        ran = as_plain_user([usable[0], "-m", "pytest", *tests, "--basetemp", str(home / "t")], home)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert f"{len(CHECKS)} passed" in ran.stdout
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)


def works(python: str, run_self: str, home: Path) -> bool:
    return as_plain_user([python, "-c", run_self, NEEDED], home).returncode == 0


def test_ci_really_runs_sandboxes(why_not: str) -> None:
    """Elsewhere a machine without sandboxes skips these tests and says why; there it must not look green."""
    if "CI" not in os.environ and why_not:
        pytest.skip(why_not)
    assert why_not == ""
