"""The server's no: what the real API answers 400 or 404 for."""

from __future__ import annotations


class Refusal(Exception):
    """A request the real API would not take. `path` leads to the field, as in `messages.0.content.1.text`."""

    def __init__(self, message: str, status: int = 400, type: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.path: list[str] = []

    def inside(self, *names: str | int) -> Refusal:
        self.path[:0] = map(str, names)
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message
