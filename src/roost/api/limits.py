"""Limits on what comes in: how often, and how much (behaviour/07, Rates and sizes)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers

from roost.core.clock import Clock
from roost.core.settings import RateLimits
from roost.operations.resource import Rate
from roost.wire.errors import ApiError

PATH_CHARS_MAX = 2_048
QUERY_CHARS_MAX = 16_384
HEADERS_MAX = 100
BUCKETS_MAX = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class RateLimiter:
    """A token bucket for each workspace and class of calls; holds one minute's worth."""

    def __init__(self, limits: RateLimits | None, clock: Clock) -> None:
        self._per_minute = {} if limits is None else {"create": limits.create, "read": limits.read}
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def take(self, workspace_id: str, rate: Rate | None) -> None:
        """Raises ApiError (429) with the time after which one more call fits."""
        if rate is None or rate not in self._per_minute:
            return
        size, now_s = self._per_minute[rate], self._clock.monotonic_s()
        bucket = self._bucket((workspace_id, rate), size, now_s)
        bucket.tokens = min(size, bucket.tokens + (now_s - bucket.at_s) * size / 60)
        bucket.at_s = now_s
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) * 60 / size
            raise ApiError(429, f"More than {size} {rate} calls a minute in this workspace.", retry_after_s=wait_s)
        bucket.tokens -= 1

    def _bucket(self, key: tuple[str, str], size: int, now_s: float) -> _Bucket:
        if len(self._buckets) >= BUCKETS_MAX:
            self._buckets.clear()
        return self._buckets.setdefault(key, _Bucket(size, now_s))


def check_head(path: str, query: bytes, headers: Headers) -> None:
    """Raises ApiError for a request line or headers beyond what any real call needs."""
    if len(path) > PATH_CHARS_MAX:
        raise ApiError(414, f"The path is longer than {PATH_CHARS_MAX} characters.")
    if len(query) > QUERY_CHARS_MAX:
        raise ApiError(414, f"The query is longer than {QUERY_CHARS_MAX} characters.")
    if len(headers.raw) > HEADERS_MAX:
        raise ApiError(431, f"The request has more than {HEADERS_MAX} headers.")
