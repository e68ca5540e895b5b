"""Run something as a user without any rights, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

ROOT = Path(__file__).parents[2]
PLAIN_USER = 61_234
"""Nobody's id on any ordinary machine: neither a system's nor a person's."""
NEEDED = "import pytest, orjson, hypothesis, pytest_asyncio, roost"


def as_plain_user(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    site_packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *site_packages])
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    ids = ["setpriv", f"--reuid={PLAIN_USER}", f"--regid={PLAIN_USER}", "--clear-groups", "--inh-caps=-all", "--"]
    return subprocess.run([*ids, *command], env=environment, cwd=home, capture_output=True, text=True, timeout=55)


@contextmanager
def plain_home() -> Iterator[Path]:
    """A folder of the plain user, where that user can get at it."""
    home = Path(mkdtemp(prefix="roost-plain-", dir="/tmp"))
    os.chown(home, PLAIN_USER, PLAIN_USER)
    try:
        yield home
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)


def plain_python(home: Path) -> str:
    """An interpreter that a plain user can run and that has what the tests need; skips the test where there is none.

    Ours may lie where only root can go; a system's Python of the same version does as well.
    """
    pythons = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    run_self = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode)"
    for python in pythons:
        if as_plain_user([python, "-c", run_self, NEEDED], home).returncode == 0:
            return python
    pytest.skip(f"no interpreter that a plain user can run has what the tests need: {', '.join(pythons)}")
