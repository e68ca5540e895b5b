"""A clock that the test moves."""

from __future__ import annotations

from datetime import datetime, timedelta

from roost.core.clock import later
from tests.rig.logbook import START


class MovableClock:
    """Starts at `START` and goes on by a millisecond each time somebody looks."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    def monotonic_s(self) -> float:
        return (self.now() - START).total_seconds()

    def pass_to(self, moment: datetime) -> None:
        """Moves on to a moment; never back."""
        self._now = max(self._now, moment)

    def pass_by(self, seconds: float) -> None:
        self._now = later(self._now, seconds)
