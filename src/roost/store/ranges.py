"""Time bounds and page positions as ranges, the same for every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from roost.store.protocols import Position

_OPERATORS = frozenset({"gt", "gte", "lt", "lte"})
_AFTER_ALL = "~"
_JUST_AFTER = "!"


def time_range(bounds: Mapping[str, str]) -> tuple[str, str]:
    """The half-open range [floor, ceiling) that `gt|gte|lt|lte` bounds leave.

    Stored timestamps all have the same length, so a text "just after" one of them sorts behind it and before the next.
    Raises ValueError for another operator.
    """
    if unknown := bounds.keys() - _OPERATORS:
        raise ValueError(f"no such bound: {', '.join(sorted(unknown))}")
    floors = [bounds[op] + mark for op, mark in (("gte", ""), ("gt", _JUST_AFTER)) if op in bounds]
    ceilings = [bounds[op] + mark for op, mark in (("lt", ""), ("lte", _JUST_AFTER)) if op in bounds]
    return max(floors, default=""), min(ceilings, default=_AFTER_ALL)


class PageRange(NamedTuple):
    """What a page may show: rows strictly between two (key, id) pairs."""

    low_key: str
    low_id: str
    high_key: str
    high_id: str


def page_range(bounds: Mapping[str, str], after: Position | None, *, descending: bool) -> PageRange:
    """The range of a page ordered by (time, id) that begins behind `after`."""
    floor, ceiling = time_range(bounds)
    low, high = (floor, ""), (ceiling, "")
    if after and descending:
        high = min(high, (str(after.key), after.id))
    elif after:
        low = max(low, (str(after.key), after.id))
    return PageRange(*low, *high)
