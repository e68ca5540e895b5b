"""What the rest of Roost knows of the egress log: its rows, and how they are read (the seam is `protocols`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from roost.wire.egress import Decision


@dataclass(frozen=True, slots=True)
class EgressRow:
    """One request or tunnel out of a session's sandbox, written when it had ended."""

    session_id: str
    at: str
    """When it ended."""
    method: str
    host: str
    port: int
    decision: Decision
    reason: str
    """Why it was refused or failed; empty otherwise."""
    sent_bytes: int
    received_bytes: int
    duration_ms: int
    n: int = 0
    """Counts from 1 within the session; given by the store."""


class EgressLog(Protocol):
    async def list(
        self, session_id: str, *, before: int | None = None, decision: Decision | None = None, limit: int
    ) -> list[EgressRow]:
        """Those with n < `before`, newest first."""
        ...
