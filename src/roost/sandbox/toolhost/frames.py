"""JSON lines on a file descriptor, without `import json`: that alone (it needs `re`) takes longer than starting Python.

The C scanner and encoder of the standard library are used directly; they are what `json` wraps.
"""

from __future__ import annotations

import os
from _json import encode_basestring_ascii, make_scanner
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
"""A longer line closes the connection; the largest honest frame is a 20 MiB PDF in base64."""


class _Decoding:
    """What the C scanner asks its context for; these are `json`'s defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - shared on purpose: the scanner clears it after each use


_scan = make_scanner(_Decoding)  # type: ignore[arg-type] # it reads attributes and asks for no class


def decode(line: bytes) -> Any:
    """The value a line starts with. Raises ValueError for what is not JSON."""
    try:
        value, _ = _scan(line.decode(), 0)
    except (StopIteration, SystemError):
        # The scanner looks for `json`'s own error class; as nothing has imported that, it fails without an error.
        raise ValueError("not JSON") from None
    return value


def encode(value: Any) -> str:
    """JSON for None, bool, int, float, str, list, tuple and dict with text keys."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ",".join(f"{encode(key)}:{encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(encode, value)) + "]"
    return repr(value)


class Connection:
    """One peer: lines in, lines out from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._writing = allocate_lock()

    def lines(self) -> Iterator[bytes]:
        """Whole lines until the peer hangs up or sends one over the limit."""
        buffer = bytearray()
        while len(buffer) <= FRAME_LIMIT_BYTES:
            seen = len(buffer)
            chunk = os.read(self._fd, 1 << 16)
            if not chunk:
                return
            buffer += chunk
            end = buffer.find(b"\n", seen)
            while end >= 0:
                yield bytes(buffer[:end])
                del buffer[: end + 1]
                end = buffer.find(b"\n")

    def send(self, message: dict[str, Any]) -> None:
        """Write one message. A peer that hung up no longer wants it, so that is no error."""
        rest = memoryview(encode(message).encode() + b"\n")
        with self._writing:
            try:
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError:
                return

    def close(self) -> None:
        with self._writing:
            os.close(self._fd)
            self._fd = -1
