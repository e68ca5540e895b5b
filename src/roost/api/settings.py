"""What the API must be told by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from roost.core.settings import RateLimits

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Limits and times of the HTTP side; the fields are those of `roost.core.settings.Settings` with the same names."""

    admin_key_hash: str
    """SHA-256 of the operator's key, in hex."""
    rate_limits: RateLimits | None
    """None for no limits."""
    request_bytes_max: int = 32 * _MIB
    file_bytes_max: int = 500 * _MIB
    idempotency_ttl_s: float = 86_400
    stream_ping_s: float = 15
    poll_s: float = 1
