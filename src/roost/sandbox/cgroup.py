"""Limits for all processes of a sandbox together, where this machine lets us make control groups.

Version 2 where it is mounted alone and its controllers are handed down, else version 1. Elsewhere (a plain user, most
containers) there are none, and the limits of each process have to do; `Capability` says so.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
GROUP = "roost"

_CONTROLLERS = {"cpu", "memory", "pids"}
_CPU_PERIOD_US = 100_000
"""What the share of the processor is counted over, the kernel's own default."""
_REMOVE_TRIES = 100
_REMOVE_PAUSE_S = 0.002


class ControlGroups:
    """One group for each sandbox and hierarchy. `controllers` are those that are enforced."""

    def __init__(self, hierarchies: Mapping[Path, Mapping[str, str]], controllers: frozenset[str]) -> None:
        self._hierarchies = hierarchies
        self.controllers = controllers

    @classmethod
    def of_this_machine(cls, memory_bytes: int, processes: int, cpus: float, root: Path = ROOT) -> ControlGroups:
        """`cpus` is processor time for each second, of all processors together."""
        quota_us = int(cpus * _CPU_PERIOD_US)
        v2 = {
            "cpu.max": f"{quota_us} {_CPU_PERIOD_US}",
            "memory.max": str(memory_bytes),
            "memory.swap.max": "0",
            "pids.max": str(processes),
        }
        v1 = {
            "cpu": {"cpu.cfs_period_us": str(_CPU_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)},
            "memory": {"memory.limit_in_bytes": str(memory_bytes)},
            "pids": {"pids.max": str(processes)},
        }
        if (root / "cgroup.controllers").exists():
            handed_down = _words(root / GROUP / "cgroup.subtree_control") if _make(root / GROUP) else set()
            controllers = frozenset(handed_down & _CONTROLLERS)
            settings = {name: value for name, value in v2.items() if name.partition(".")[0] in controllers}
            return cls({root / GROUP: settings} if controllers else {}, controllers)
        usable = {
            name: path
            for name, settings in v1.items()
            if _make(path := root / name / GROUP) and all((path / setting).exists() for setting in settings)
        }
        return cls({path: v1[name] for name, path in usable.items()}, frozenset(usable))

    def make(self, name: str) -> list[str]:
        """The files into which a process writes `0` to belong to the group of that name. Blocks."""
        for hierarchy, settings in self._hierarchies.items():
            (hierarchy / name).mkdir(exist_ok=True)
            for setting, value in settings.items():
                _set(hierarchy / name / setting, value)
        return [str(hierarchy / name / "cgroup.procs") for hierarchy in self._hierarchies]

    def remove(self, name: str) -> None:
        """Remove the groups of a sandbox that has ended. Blocks."""
        for hierarchy in self._hierarchies:
            _remove(hierarchy / name)


def _set(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except FileNotFoundError:  # no swap accounting
        pass
    except OSError as error:
        # Version 1 takes no more processor time than a group around ours has; that group's limit holds.
        if error.errno != errno.EINVAL or path.name != "cpu.cfs_quota_us":
            raise


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
            there = _words(path / "cgroup.controllers") & _CONTROLLERS
            if missing := there - _words(path / "cgroup.subtree_control"):
                (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(missing)))
    except OSError:
        return False
    return os.access(path, os.W_OK)


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()
