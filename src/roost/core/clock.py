"""Time, as a parameter: nothing in Roost asks the operating system for the time on its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for how long something took."""

    def now(self) -> datetime: ...
    def monotonic_s(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, always 27 characters, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_timestamp(text: str) -> datetime:
    """The moment a `timestamp` (or any RFC 3339 text with an offset) names.

    Raises ValueError for anything else, and for a moment outside the years 1 to 9999 of UTC; a text without an offset
    counts as UTC.
    """
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is out of range") from error


def later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
