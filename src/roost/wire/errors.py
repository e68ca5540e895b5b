"""What goes wrong on the wire (contract/http.md, Errors): one exception, one envelope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from roost.wire.shape import encode

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
    "conflict_error",
]

TYPES: dict[int, ErrorType] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type of each status that has one of its own; other 4xx are the caller's mistake, other 5xx ours."""


class ApiError(Exception):
    """A request that is answered with an error.

    `message` is for people and names the field; `code` is for programs (`error.details.error_code`), and `details` are
    what stands beside the code. `retry` overrides the client's own decision to try again, which for 409 and 5xx would
    be yes; None leaves it to the client.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        retry: bool | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.retry = retry
        self.retry_after_s = retry_after_s
        self.details = details or {}

    @property
    def type(self) -> ErrorType:
        return TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")

    def envelope(self, request_id: str) -> bytes:
        error: dict[str, object] = {"type": self.type, "message": self.message}
        if self.code:
            error["details"] = {"error_code": self.code, **self.details}
        return encode({"type": "error", "error": error, "request_id": request_id})

    def headers(self) -> dict[str, str]:
        """What tells a client whether and when to try again."""
        headers = {}
        if self.retry is not None:
            headers["x-should-retry"] = str(self.retry).lower()
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, round(self.retry_after_s + 0.5)))
        return headers


def invalid(message: str, *, code: str | None = None) -> ApiError:
    """400: the request itself is wrong and stays wrong."""
    return ApiError(400, message, code=code)


def not_found(what: str, id: str) -> ApiError:
    """404: also for what belongs to another workspace, so that nobody can find out what exists there."""
    return ApiError(404, f"There is no {what} with the id {id[:100]!r}.")


def conflict(message: str, *, retry: bool = False) -> ApiError:
    """409: by default one that trying again cannot cure."""
    return ApiError(409, message, retry=retry)


def not_built(operation: str) -> ApiError:
    """501: an endpoint of the API that this server knows and does not serve yet."""
    return ApiError(501, f"{operation} is not built in this server yet.", code="not_implemented", retry=False)
