"""What went wrong with a model request, in the words the brain decides by (`roost.wire.messages.ModelErrorKind`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import orjson

from roost.wire.messages import ModelError, ModelErrorKind

MESSAGE_CHARS_MAX = 4_000
"""A longer message of a provider is cut: it ends up in an event of the session."""

HOW_TO_SET_A_KEY = (
    "Set ANTHROPIC_API_KEY to a valid key in the server's environment and start it again; "
    "the model `scripted` needs none."
)

_BY_TYPE: Mapping[str, ModelErrorKind] = {
    "overloaded_error": "overloaded",
    "rate_limit_error": "rate_limited",
    "billing_error": "billing",
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "api_error": "unavailable",
    "timeout_error": "unavailable",
    "conflict_error": "unavailable",
    "invalid_request_error": "request_failed",
    "not_found_error": "request_failed",
}
_BY_STATUS: Mapping[int, ModelErrorKind] = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    408: "unavailable",
    409: "unavailable",
    429: "rate_limited",
    529: "overloaded",
}
_BY_MESSAGE: Mapping[str, ModelErrorKind] = {
    "prompt is too long": "context_overflow",
    "exceed context limit": "context_overflow",
    "credit balance is too low": "billing",
}
"""What the Messages API tells only in the text of an `invalid_request_error`."""


def no_key() -> ModelError:
    return ModelError("authentication", f"There is no key for Claude models. {HOW_TO_SET_A_KEY}")


def http_failure(response: httpx2.Response, body: bytes, now: datetime) -> ModelError:
    """The failure that an answer other than 200 stands for; `body` is as much of it as was read."""
    status, error = response.status_code, _error_of(body)
    message = error.get("message") or f"The model answered HTTP {status}."
    kind = _kind(status, error.get("type"), message)
    return _failure(kind, message, retry_after_s(response.headers, now), status)


def stream_failure(error: Any) -> ModelError:
    """The failure an `error` event stands for that came after the answer had begun with 200."""
    error = error if isinstance(error, Mapping) else {}
    kind = _BY_TYPE.get(error.get("type", ""), "unavailable")
    return _failure(kind, error.get("message") or "The model broke off its reply.")


def _kind(status: int, type: str | None, message: str) -> ModelErrorKind:
    if type in ("overloaded_error", "billing_error"):
        return _BY_TYPE[type]
    for words, kind in _BY_MESSAGE.items():
        if status == 400 and words in message:
            return kind
    return _BY_STATUS.get(status) or ("unavailable" if status >= 500 else "request_failed")


def _failure(
    kind: ModelErrorKind, message: str, retry_after_s: float | None = None, status: int | None = None
) -> ModelError:
    message = message[:MESSAGE_CHARS_MAX]
    if kind == "authentication":
        message = f"{message} {HOW_TO_SET_A_KEY}"
    return ModelError(kind, message, retry_after_s, status)


def _error_of(body: bytes) -> Mapping[str, Any]:
    """The `error` of the API's envelope; empty where something else answered, such as a proxy's HTML page."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the answer asks to wait: `retry-after-ms`, or `retry-after` as seconds or a date (RFC 9110, 10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
