"""Limits for all processes of a sandbox together, where this machine lets us make control groups.

Version 2 where it is mounted alone and its controllers are handed down, else version 1. Elsewhere (a plain user, most
containers) there are none, and the limits of each process have to do; `Capability` says so.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
GROUP = "roost"

_REMOVE_TRIES = 100
_REMOVE_PAUSE_S = 0.002


class ControlGroups:
    """One group for each sandbox and hierarchy. `controllers` are those that are enforced."""

    def __init__(self, hierarchies: Mapping[Path, Mapping[str, str]], controllers: frozenset[str]) -> None:
        self._hierarchies = hierarchies
        self.controllers = controllers

    @classmethod
    def of_this_machine(cls, memory_bytes: int, processes: int, root: Path = ROOT) -> ControlGroups:
        v2 = {"memory.max": str(memory_bytes), "memory.swap.max": "0", "pids.max": str(processes)}
        v1 = {
            "memory": {"memory.limit_in_bytes": str(memory_bytes)},
            "pids": {"pids.max": str(processes)},
        }
        if (root / "cgroup.controllers").exists():
            handed_down = _words(root / GROUP / "cgroup.subtree_control") if _make(root / GROUP) else set()
            controllers = frozenset(handed_down & {"memory", "pids"})
            settings = {name: value for name, value in v2.items() if name.partition(".")[0] in controllers}
            return cls({root / GROUP: settings} if controllers else {}, controllers)
        usable = {name: root / name / GROUP for name in v1 if _make(root / name / GROUP)}
        return cls({path: v1[name] for name, path in usable.items()}, frozenset(usable))

    def make(self, name: str) -> list[str]:
        """The files into which a process writes `0` to belong to the group of that name. Blocks."""
        for hierarchy, settings in self._hierarchies.items():
            (hierarchy / name).mkdir(exist_ok=True)
            for setting, value in settings.items():
                with contextlib.suppress(FileNotFoundError):  # no swap accounting
                    (hierarchy / name / setting).write_text(value)
        return [str(hierarchy / name / "cgroup.procs") for hierarchy in self._hierarchies]

    def remove(self, name: str) -> None:
        """Remove the groups of a sandbox that has ended. Blocks."""
        for hierarchy in self._hierarchies:
            _remove(hierarchy / name)


def _remove(path: Path) -> None:
    """The kernel lets go of the last process a moment after that has ended. A group that is stuck is left behind."""
    for _ in range(_REMOVE_TRIES):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_REMOVE_PAUSE_S)


def _make(path: Path) -> bool:
    """Whether the group is there and ours to use."""
    if not path.parent.is_dir():
        return False
    try:
        path.mkdir(exist_ok=True)
        if (path / "cgroup.subtree_control").exists():
            (path / "cgroup.subtree_control").write_text("+memory +pids")
    except OSError:
        return False
    return os.access(path, os.W_OK)


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()
