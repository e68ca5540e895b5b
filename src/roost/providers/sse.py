"""Server-sent events, as far as a model's reply needs them: bytes in, the `data` of whole frames out."""

from __future__ import annotations

FRAME_BYTES_MAX = 32 * 1024 * 1024
"""No frame of a model is near this size; a stream that never ends its frame is broken."""


class FrameReader:
    """Cuts a byte stream into frames, wherever the network cut it.

    Lines end in LF or CRLF, a blank line ends a frame, several `data` lines are joined by LF (WHATWG HTML, section
    9.2.6). Other fields and comments are passed over: the Messages API repeats the event's name inside its data.
    """

    def __init__(self) -> None:
        self._line = b""
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the frames that `chunk` completed. Raises ValueError for a frame over FRAME_BYTES_MAX."""
        *lines, self._line = (self._line + chunk).split(b"\n")
        complete = []
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._held += len(line)
            elif not line and self._data:
                complete.append(b"\n".join(self._data))
                self._data, self._held = [], 0
        if self._held + len(self._line) > FRAME_BYTES_MAX:
            raise ValueError("a frame of the stream is too large")
        return complete
