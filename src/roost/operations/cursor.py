"""Page cursors: opaque to clients, and good only for the list and the order that they were made for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from roost.core.clock import parse_timestamp, timestamp
from roost.store.protocols import Position
from roost.wire.errors import invalid
from roost.wire.fields import INTEGER_MAX

_PREFIX = "page_"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list. `backward` reads towards the list's beginning."""

    list_name: str
    """Which list, its parent's id included."""
    descending: bool
    key: str | int
    id: str
    backward: bool = False

    @property
    def position(self) -> Position:
        return Position(self.key, self.id)

    def text(self) -> str:
        parts = [self.list_name, self.descending, self.key, self.id, self.backward]
        return _PREFIX + base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")


def parse(
    text: str | None,
    list_name: str,
    *,
    descending: bool,
    by_number: bool = False,
    created: Mapping[str, str] | None = None,
) -> Cursor | None:
    """The cursor of a request; None for the first page. Its key is a number where `by_number`, else a timestamp.

    Raises ApiError (400) when it is unusable, of another list or order, or outside the bounds in time: a filter that
    was moved so that it excludes the cursor's place would silently skip rows (behaviour/01 section 1.1).
    """
    if not text:
        return None
    cursor = _decoded(text)
    if cursor is None or cursor.list_name != list_name or not _fits(cursor.key, by_number):
        raise invalid("page: not a cursor of this list")
    if cursor.descending != descending:
        raise invalid("page: the cursor was made for the other `order`; start again without it")
    if created and isinstance(cursor.key, str) and not _inside(cursor.key, created):
        raise invalid("page: the cursor lies outside the `created_at` bounds; start again without it")
    return cursor


def _decoded(text: str) -> Cursor | None:
    encoded = text.removeprefix(_PREFIX)
    try:
        parts = orjson.loads(base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True))
        list_name, descending, key, row_id, backward = parts
    except (binascii.Error, ValueError, TypeError):
        return None
    kinds = (isinstance(list_name, str), isinstance(row_id, str), type(key) in (str, int))
    return Cursor(list_name, bool(descending), key, row_id, bool(backward)) if all(kinds) else None


def _fits(key: str | int, by_number: bool) -> bool:
    """Whether a list with such keys can have made this one: cursors are not signed, so anybody can write one."""
    if isinstance(key, int):
        return by_number and 0 <= key <= INTEGER_MAX
    try:
        return not by_number and key == timestamp(parse_timestamp(key))
    except ValueError:
        return False


def _inside(key: str, created: Mapping[str, str]) -> bool:
    """Whether a list with these bounds could hold a row at this time; the bound itself may be passed."""
    return all(key >= bound if operator in ("gt", "gte") else key <= bound for operator, bound in created.items())
