"""One entry of a session's egress log, under `/roost/v1`."""

from __future__ import annotations

from typing import Literal

from roost.wire.shape import Wire

Decision = Literal["allowed", "refused", "failed"]


class EgressEntry(Wire):
    """A request or tunnel out of the sandbox that has ended."""

    type: Literal["egress_entry"] = "egress_entry"
    number: int
    """Counts from 1 within the session. The oldest entries go when there are too many: their numbers are missing."""
    at: str
    method: str
    """`CONNECT` for a tunnel, as TLS and captured connections are."""
    host: str
    """Empty for a request that could not be read."""
    port: int
    decision: Decision
    """`failed` is allowed, but the host could not be reached or broke off."""
    reason: str
    sent_bytes: int
    received_bytes: int
    duration_ms: int
