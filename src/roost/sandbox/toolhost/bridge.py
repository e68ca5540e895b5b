"""The way out: 127.0.0.1:3128 in the sandbox, piped byte for byte to the policy proxy's socket on the host."""

from __future__ import annotations

from _socket import AF_INET, AF_UNIX, SHUT_RDWR, SHUT_WR, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET, socket
from _thread import start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PORT = 3128
_CHUNK_BYTES = 1 << 17


def serve(socket_path: str) -> None:
    listener = socket(AF_INET, SOCK_STREAM)
    listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(128)
    while True:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        try:
            start_new_thread(_lead_out, (socket(fileno=fd), socket_path))
        except RuntimeError:
            socket(fileno=fd).close()


def _lead_out(inner: Any, socket_path: str) -> None:
    outer = socket(AF_UNIX, SOCK_STREAM)
    try:
        outer.connect(socket_path)
        join(inner, outer)
    except (OSError, RuntimeError):
        _hang_up(inner)


def join(inner: Any, outer: Any) -> None:
    """Both directions between two connections, until both are closed. Raises RuntimeError: no room for a thread."""
    start_new_thread(_pipe, (outer, inner))
    _pipe(inner, outer)


def _pipe(source: Any, target: Any) -> None:
    """One direction. A half-closed connection stays open the other way; a broken one ends both."""
    try:
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
        target.shutdown(SHUT_WR)
    except OSError:
        _hang_up(source)
        _hang_up(target)


def _hang_up(connection: Any) -> None:
    """Wakes whoever reads from it; the descriptor is closed when the last thread lets go of it."""
    try:
        connection.shutdown(SHUT_RDWR)
    except OSError:
        return
