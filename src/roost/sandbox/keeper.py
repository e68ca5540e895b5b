"""The keeper seen from the server: the one process whose end is the end of everything in a sandbox.

It is bubblewrap, first process of its own pid namespace (see `launch`). It is known by pid and start time together, so
a number that now belongs to somebody else is never killed.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

PID_FILE = "keeper"
END_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that was alive when this was made."""

    pid: int
    started: str
    """Field 22 of `/proc/PID/stat`: clock ticks from the start of the host."""

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started

    def end(self) -> None:
        """Kill it and wait until it, and with it every process of the sandbox, is gone. Blocks; raises TimeoutError."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            if not poller.poll(END_TIMEOUT_S * 1000):
                raise TimeoutError(f"process {self.pid} does not end")
        finally:
            os.close(handle)


def living_keeper(folder: Path) -> Keeper | None:
    """The keeper that a sandbox's folder names, if it lives."""
    try:
        pid, started = (folder / PID_FILE).read_text().split()
        keeper = Keeper(int(pid), started)
    except (OSError, ValueError):
        return None
    return keeper if keeper.alive() else None


def _start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError):
        return None
    return None if fields[0] in ("Z", "X") else fields[19]
