"""The server's end of the launcher process (see `launch`, which is that process)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

PROGRAM = Path(__file__).with_name("launch.py")


class Start:
    """A sandbox on its way: when the launcher has done its part, and what it and bubblewrap had to say."""

    def __init__(self, report: int, done: int) -> None:
        self._report = report
        self._done = done

    @classmethod
    def piped(cls) -> tuple[Start, int, int]:
        """A start, and the ends of its two pipes that the launcher gets."""
        report_r, report_w = os.pipe()
        done_r, done_w = os.pipe()
        return cls(report_r, done_r), report_w, done_w

    def wait(self) -> None:
        """Blocks until the launcher has done its part, well or not."""
        os.read(self._done, 1)

    def said(self) -> str:
        """What was said so far; empty when all went well."""
        os.set_blocking(self._report, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._report, 1 << 16).decode(errors="replace").strip()
        return ""

    def close(self) -> None:
        os.close(self._report)
        os.close(self._done)


class Launcher:
    """Started at the first request, started again when it was killed. Its methods block, but not for long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self, request: Mapping[str, Any], listener: int, seccomp: int) -> Start:
        """Ask for a sandbox. Raises OSError."""
        start, report, done = Start.piped()
        try:
            with self._lock:
                try:
                    self._send(request, [listener, seccomp, report, done])
                except (BrokenPipeError, ConnectionResetError):
                    self._end()
                    self._send(request, [listener, seccomp, report, done])
        except BaseException:
            start.close()
            raise
        finally:
            os.close(report)
            os.close(done)
        return start

    def close(self) -> None:
        """End the launcher. Sandboxes live on."""
        with self._lock:
            self._end()

    def _send(self, request: Mapping[str, Any], fds: list[int]) -> None:
        socket.send_fds(self._connected(), [orjson.dumps(request)], fds)

    def _connected(self) -> socket.socket:
        if self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-IS", str(PROGRAM), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env={},
                    cwd="/",
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._requests = ours
        return self._requests

    def _end(self) -> None:
        if self._requests and self._process:
            self._requests.close()
            self._process.wait()
        self._requests = self._process = None
