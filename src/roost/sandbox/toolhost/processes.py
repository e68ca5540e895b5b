"""The duties of a first process: start children, bury orphans, and end everything a call has started."""

from __future__ import annotations

import _ctypes
import os
from _signal import SIGKILL, SIGPIPE, SIGXFSZ  # type: ignore[import-not-found] # `signal` imports `enum`
from _thread import allocate_lock
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIRST_FREE_FD = 10

_PR_SET_DUMPABLE = 4

_KILL_PAUSE_S = 0.001
_KILL_ROUNDS = 2000
"""Two seconds: only a process stuck in the kernel outlives that."""


def tidy_fds(kept: int) -> None:
    """Close what was inherited, but the one descriptor; fill those below ten, where children want pipes of theirs."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd != kept:
            try:
                os.close(fd)
            except OSError:
                continue  # the listing's own descriptor
    while os.open("/dev/null", os.O_RDWR) < FIRST_FREE_FD - 1:
        pass


def hide_memory() -> None:
    """Make this process's memory and descriptors unreadable for what runs in the sandbox, which is root as it is.

    `ctypes` itself would cost four milliseconds; this is the one call of it that is needed.
    """
    this_program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # typeshed knows no None here
    _ctypes.call_function(_ctypes.dlsym(this_program, "prctl"), (_PR_SET_DUMPABLE, 0, 0, 0, 0))


class Child:
    """A process of ours: its number, and its exit code once it has ended (minus the signal that ended it)."""

    def __init__(self, pid: int, on_end: Callable[[], None]) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._on_end = on_end
        self._running = allocate_lock()
        self._running.acquire()

    def wait(self, timeout_s: float = -1) -> bool:
        """Whether it has ended within the time; without a time, when it has ended."""
        if not self._running.acquire(timeout=timeout_s):
            return False
        self._running.release()
        return True

    def send(self, signal: int) -> None:
        if self.exit_code is None:
            _send(self.pid, signal)

    def kill(self) -> None:
        self.send(SIGKILL)

    def ended(self, wait_status: int) -> None:
        self.exit_code = os.waitstatus_to_exitcode(wait_status)
        self._on_end()
        self._running.release()


class Children:
    """Every process this one started. `reap_forever` must run in one thread."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._living: dict[int, Child] = {}
        self._some = allocate_lock()
        self._some.acquire()

    def spawn(self, argv: tuple[str, ...], fds: Mapping[int, int], on_end: Callable[[], None] = lambda: None) -> Child:
        """Start `argv` in a session of its own; `fds` names its open descriptors (theirs: ours). Raises OSError."""
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in fds.items()]
        with self._lock:
            # Under the lock, so that the reaper cannot meet the child's end before it is written down here.
            pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=actions,
                setsid=True,
                setsigdef=[SIGPIPE, SIGXFSZ],
            )
            child = self._living[pid] = Child(pid, on_end)
            if self._some.locked():
                self._some.release()
        return child

    def reap_forever(self) -> None:
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                # Orphans descend from children, so while there are none nothing can arrive here.
                self._some.acquire()
                continue
            with self._lock:
                child = self._living.pop(pid, None)
            if child:
                child.ended(status)

    def pids(self) -> set[int]:
        with self._lock:
            return set(self._living)


def all_pids() -> set[int]:
    """Every process of the sandbox, threads not counted."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def kill_all_but(spared: set[int]) -> None:
    """Kill every process that is not spared, and what those start meanwhile, until none is left."""
    for _ in range(_KILL_ROUNDS):
        doomed = [pid for pid in all_pids() - spared - {os.getpid()} if not _is_dead(pid)]
        if not doomed:
            return
        for pid in doomed:
            _send(pid, SIGKILL)
        sleep(_KILL_PAUSE_S)


def _send(pid: int, signal: int) -> None:
    try:
        os.kill(pid, signal)
    except ProcessLookupError:
        return


def _is_dead(pid: int) -> bool:
    """Gone, or a zombie that its parent has yet to collect."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True
