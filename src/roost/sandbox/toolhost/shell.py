"""The session's one bash: state that lasts from call to call, whatever a call does.

How a call is run
-----------------
Bash reads one constant line from its standard input, which reads the command from descriptor 4, evaluates it and writes
the exit status to descriptor 3. The status is out of band, so no output can fake it and unbalanced quotes stay inside
`eval`; `cd`, `export`, functions and background jobs last.

How a call is stopped
---------------------
On a time-out or a cancel everything the call has started is killed, and bash itself must not go on with the rest of the
command (`sleep 1000; deploy`). Bash has no way to drop a command half-way and stay, so a trap makes it write down its
state and end, and the next bash reads that. Variables, functions, options, traps, the working directory and earlier
background processes are kept; only bash's own table of jobs is lost. The reference implementations lose all of it, and
the output so far. Where they differ otherwise: `restart` with a `command` runs the command (TypeScript; Python ignores
it), and a failure without output says `exit <status>` (TypeScript).
"""

from __future__ import annotations

import os
from _signal import SIGUSR1  # type: ignore[import-not-found] # `signal` imports `enum`
from _thread import allocate_lock, start_new_thread
from select import POLLIN, poll
from time import monotonic

from .calls import Call, ToolError, text_result
from .processes import Child, Children, all_pids, kill_all_but
from .text import MAX_KEPT_BYTES, fit, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .calls import Result

DEFAULT_TIMEOUT_MS = 120_000
MAX_TIMEOUT_MS = 24 * 3_600_000

_BASH = ("/bin/bash", "--noprofile", "--norc")
_STATE_FILE = "/run/roost/shell"
_PREPARE = f"""\
[ -e {_STATE_FILE} ] && . {_STATE_FILE} 2>/dev/null
trap '{{ declare -p; declare -f; alias -p; shopt -p; set +o; trap -p; umask -p; printf "cd -- %q\\n" "$PWD"; }} \
>|{_STATE_FILE} 2>/dev/null; kill -9 $$' USR1
""".encode()
_RUN = b'IFS= read -r -d "" __roost_command <&4; eval "$__roost_command" </dev/null 3>&- 4<&-; printf "%d\\n" $? >&3\n'
_PIPE_CAPACITY_BYTES = 1 << 16
_STOP_GRACE_S = 2.0


class Tail:
    """The last bytes that came out of a pipe, read all the time so that nobody who writes to it blocks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = allocate_lock()
        self._kept = bytearray()
        self._dropped = False
        os.set_blocking(fd, False)
        start_new_thread(self._pump, ())

    def take(self) -> tuple[bytes, bool]:
        """What came since the last take, and whether earlier bytes of it were dropped.

        Everything written before this call is in it, however much is being written meanwhile: no more than the
        pipe's capacity can have been under way.
        """
        with self._lock:
            missing = _PIPE_CAPACITY_BYTES
            while missing > 0 and (count := self._read()):
                missing -= count
            kept, dropped = bytes(self._kept), self._dropped
            self._kept.clear()
            self._dropped = False
            return kept, dropped

    def _pump(self) -> None:
        poller = poll()
        poller.register(self._fd, POLLIN)
        while poller.poll():
            with self._lock:
                if self._read() == 0:
                    os.close(self._fd)
                    self._fd = -1
                    return

    def _read(self) -> int | None:
        """Bytes moved: none when the pipe is empty, 0 when all writers have closed it."""
        try:
            chunk = os.read(self._fd, _PIPE_CAPACITY_BYTES) if self._fd >= 0 else b""
        except BlockingIOError:
            return None
        self._kept += chunk
        if len(self._kept) > 2 * MAX_KEPT_BYTES:
            del self._kept[:-MAX_KEPT_BYTES]
            self._dropped = True
        return len(chunk)


class Bash:
    """One bash process and the pipes to it."""

    def __init__(self, children: Children) -> None:
        line_r, self._line = os.pipe()
        output_r, output_w = os.pipe()
        self._status, status_w = os.pipe()
        command_r, self._command = os.pipe()
        self._wake_r, self._wake = os.pipe()
        self._waking = allocate_lock()
        theirs = {0: line_r, 1: output_w, 2: output_w, 3: status_w, 4: command_r}
        try:
            self.process: Child = children.spawn(_BASH, theirs, on_end=self.wake)
        finally:
            for fd in set(theirs.values()):
                os.close(fd)
        self.output = Tail(output_r)
        os.write(self._line, _PREPARE)

    def wake(self) -> None:
        """Make a waiting `status` look up."""
        with self._waking:
            if self._wake >= 0:
                os.write(self._wake, b"!")

    def start(self, command: bytes) -> None:
        """Raises OSError when bash is gone."""
        os.write(self._line, _RUN)
        rest = memoryview(command + b"\0")
        while rest:
            rest = rest[os.write(self._command, rest) :]

    def status(self, call: Call, deadline_s: float) -> int | None:
        """The exit status once the command or bash has ended; None when the call is cancelled or time is up."""
        poller = poll()
        poller.register(self._status, POLLIN)
        poller.register(self._wake_r, POLLIN)
        while not call.cancelled:
            ready = poller.poll(max(0, (deadline_s - monotonic()) * 1000))
            if not ready:
                return None
            for fd, _ in ready:
                answer = os.read(fd, 64)
                if fd == self._status and answer.strip().isdigit():
                    return int(answer)
                if fd == self._status and not answer:
                    # Bash closed it to become another program (`exec`), or has ended; `wake` tells which.
                    poller.unregister(fd)
            if self.process.exit_code is not None:
                return self.process.exit_code
        return None

    def close(self) -> None:
        with self._waking:
            for fd in (self._line, self._status, self._command, self._wake_r, self._wake):
                os.close(fd)
            self._wake = -1


class Shell:
    """The session's shell, whichever bash that is at the moment. Calls must come one after the other."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._bash: Bash | None = None

    def run(self, call: Call, input: dict[str, Any]) -> Result:
        """Raises ToolError."""
        command, timeout_ms = input.get("command"), input.get("timeout_ms") or DEFAULT_TIMEOUT_MS
        if input.get("restart"):
            self._restart()
            if not command:
                return text_result("bash session restarted")
        if not command:
            raise ToolError("bash: command is required")
        if "\0" in command:
            raise ToolError("bash: command contains a NUL character")
        return self._evaluate(call, command.encode(errors="replace"), min(timeout_ms, MAX_TIMEOUT_MS) / 1000)

    def _evaluate(self, call: Call, command: bytes, timeout_s: float) -> Result:
        earlier = all_pids()
        notes = []
        if self._bash and self._bash.process.exit_code is not None:
            self._discard()
            notes.append("[the shell had been killed; this ran in a new one]")
        try:
            bash = self._bash = self._bash or Bash(self._children)
            call.stop = bash.wake
            bash.start(command)
        except OSError as error:
            self._discard()
            raise ToolError(f"bash: no shell could be started: {error.strerror}") from None
        status = bash.status(call, monotonic() + timeout_s)
        if status is None:
            notes.append(self._stop(call, bash, earlier, timeout_s))
        kept, dropped = bash.output.take()
        if status is not None and bash.process.exit_code is not None:
            self._discard()
            notes.append("[the shell has exited; the next command starts a new one]")
        elif status and not kept.strip():
            notes.append(f"exit {status}")
        text = "\n".join(filter(None, [fit(call.id, plain(kept), dropped), *notes]))
        return text_result(text, is_error=status != 0)

    def _stop(self, call: Call, bash: Bash, earlier: set[int], timeout_s: float) -> str:
        """End the call's processes, keep the shell's state where bash still can write it down."""
        bash.process.send(SIGUSR1)
        give_up_s = monotonic() + _STOP_GRACE_S
        while not bash.process.wait(0.01) and monotonic() < give_up_s:
            kill_all_but(earlier | self._children.pids())
        kept = bash.process.exit_code is not None
        bash.process.kill()
        bash.process.wait()
        kill_all_but(earlier | self._children.pids())
        self._discard()
        why = "cancelled" if call.cancelled else f"timed out after {timeout_s:g}s"
        fate = "the shell's state is kept" if kept else "the shell did not answer and was restarted"
        return f"bash: bash command {why}; its processes were stopped, {fate}"

    def _restart(self) -> None:
        kill_all_but(self._children.pids() - ({self._bash.process.pid} if self._bash else set()))
        self._discard()
        if os.path.exists(_STATE_FILE):
            os.unlink(_STATE_FILE)

    def _discard(self) -> None:
        bash, self._bash = self._bash, None
        if bash:
            bash.process.kill()
            bash.process.wait()
            bash.close()
