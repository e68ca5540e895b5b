"""Kinds of fields that several resources share: names, metadata, moments, and what is not built yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from roost.core.clock import parse_timestamp, timestamp
from roost.wire.errors import invalid

METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512
NAME_CHARS_MAX = 256
DESCRIPTION_CHARS_MAX = 10_000
ID_CHARS_MAX = 128
INTEGER_MAX = 2**63 - 1
"""The largest whole number that the store can hold."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _one_line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters")
    return text


ONE_LINE = AfterValidator(_one_line)
"""For a text that lists and terminals show: no control characters, neither C0 nor C1."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX), ONE_LINE]
Version = Annotated[int, Field(ge=1, le=INTEGER_MAX)]
Description = Annotated[str, StringConstraints(max_length=DESCRIPTION_CHARS_MAX)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=ID_CHARS_MAX)]

_Key = Annotated[str, StringConstraints(min_length=1, max_length=METADATA_KEY_CHARS_MAX)]
_Value = Annotated[str, StringConstraints(max_length=METADATA_VALUE_CHARS_MAX)]

Metadata = Annotated[dict[_Key, _Value], Field(max_length=METADATA_PAIRS_MAX)]
"""At most 16 pairs, keys up to 64 characters, values up to 512 (contract/http.md, Metadata bags)."""

MetadataPatch = dict[_Key, _Value | None]
"""A merge patch: a string sets, null deletes, what is not named stays."""


def merged(current: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    """The metadata after a patch. Raises ApiError when it would hold too many pairs."""
    both = {**current, **(patch or {})}
    kept = {key: value for key, value in both.items() if value is not None}
    if len(kept) > METADATA_PAIRS_MAX:
        raise invalid(f"metadata: would hold {len(kept)} pairs; at most {METADATA_PAIRS_MAX} are allowed")
    return kept


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def _moment(text: str) -> str:
    try:
        if _RFC_3339.fullmatch(text.upper()):
            return timestamp(parse_timestamp(text.upper()))
    except ValueError:
        pass
    raise ValueError("must be an RFC 3339 time such as 2026-01-31T12:00:00Z")


Moment = Annotated[str, StringConstraints(max_length=64), AfterValidator(_moment)]
"""Any RFC 3339 time, brought into the one form whose text order is time order.

One without an offset counts as UTC: it is what the SDK sends for a `datetime` without a time zone.
"""

T = TypeVar("T")


def unbuilt(what: str) -> Callable[[T], T]:
    """Accepts nothing but an empty value: what does not work yet is refused by name, never silently accepted."""

    def check(value: T) -> T:
        if value:
            raise ValueError(f"this server does not support {what} yet; leave it out or send null")
        return value

    return check


def shorthand(field: str, **others: str) -> Callable[[Any], Any]:
    """Takes a string for the object with that one field, besides `others`."""

    def expand(value: Any) -> Any:
        if isinstance(value, str):
            return {**others, field: value}
        if value is None or isinstance(value, int | float | list):
            raise ValueError("must be a string or an object")
        return value

    return expand


def _not_cleared(value: T | None) -> T:
    if value is None:
        raise ValueError("cannot be cleared; leave the field out to keep it")
    return value


NOT_CLEARED = AfterValidator(_not_cleared)
"""For a field of an update that may be left out, and then is None, but not be sent as null."""

NoVaults = Annotated[list[Any] | None, AfterValidator(unbuilt("vaults"))]
NoSkills = Annotated[list[Any] | None, AfterValidator(unbuilt("skills"))]
NoServers = Annotated[list[Any] | None, AfterValidator(unbuilt("MCP servers"))]
NoBudget = Annotated[dict[str, Any] | None, AfterValidator(unbuilt("budgets"))]
NoMultiagent = Annotated[dict[str, Any] | None, AfterValidator(unbuilt("multiagent orchestration"))]


def unbuilt_value(*values: str) -> Callable[[str], str]:
    """Refuses single values of a field whose other values work."""

    def check(value: str) -> str:
        if value in values:
            raise ValueError(f"this server does not support {value!r} yet")
        return value

    return check
