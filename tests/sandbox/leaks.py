"""What sandboxes may leave behind on a machine, found by looking at the machine and not at our own records."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from roost.sandbox.cgroup import GROUP, ROOT
from roost.sandbox.conformance import MOMENT_S


def traces(folder: Path) -> set[str]:
    """What there is at this moment that names the folder, and every control group without a process."""
    groups = (*ROOT.glob(f"{GROUP}/*/"), *ROOT.glob(f"*/{GROUP}/*/"))
    return {
        *(f"process {pid} has the folder mounted: {_words(pid)}" for pid in _inside(folder)),
        *(f"loop device {path.parts[3]}" for path in _loop_devices(folder)),
        # Other sandboxes of this machine may start meanwhile; theirs have processes, ours are over.
        *(f"control group {path}" for path in groups if not _processes(path)),
    }


def left_behind(folder: Path, before: set[str]) -> set[str]:
    """What is new since and still there after a moment: an ending sandbox needs a little."""
    give_up_s = time.monotonic() + MOMENT_S
    while (found := traces(folder) - before) and time.monotonic() < give_up_s:
        select.select([], [], [], 0.02)
    return found


def _inside(folder: Path) -> Iterator[int]:
    """Processes, this one included, in whose mount namespace something of the folder is mounted."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        if f"{folder}/" in _read(f"/proc/{name}/mountinfo"):
            yield int(name)


def _loop_devices(folder: Path) -> Sequence[Path]:
    return [path for path in Path("/sys/block").glob("loop*/loop/backing_file") if str(folder) in _read(path)]


def _processes(group: Path) -> str:
    return _read(group / "cgroup.procs") if group.exists() else "gone meanwhile"


def _words(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline").replace("\0", " ")[:100]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
