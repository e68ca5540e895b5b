"""Cursors: opaque, and good only where they were made."""

from __future__ import annotations

import base64
from datetime import UTC

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.core.clock import timestamp
from roost.operations.cursor import Cursor, parse
from roost.wire.errors import ApiError
from roost.wire.fields import INTEGER_MAX

MOMENT = "2026-01-02T00:00:00.000000Z"

cursors = st.builds(
    Cursor,
    list_name=st.text(max_size=80),
    descending=st.booleans(),
    key=st.integers(0, INTEGER_MAX) | st.datetimes(timezones=st.just(UTC)).map(timestamp),
    id=st.text(max_size=40),
    backward=st.booleans(),
)


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    by_number = isinstance(cursor.key, int)
    assert parse(cursor.text(), cursor.list_name, descending=cursor.descending, by_number=by_number) == cursor


@given(cursors)
def test_a_cursor_is_no_good_in_the_other_order_nor_in_another_list(cursor: Cursor) -> None:
    for name, descending in ((cursor.list_name, not cursor.descending), (cursor.list_name + "x", cursor.descending)):
        with pytest.raises(ApiError):
            parse(cursor.text(), name, descending=descending, by_number=isinstance(cursor.key, int))


@given(cursors)
def test_a_cursor_is_no_good_in_a_list_with_keys_of_the_other_kind(cursor: Cursor) -> None:
    with pytest.raises(ApiError):
        parse(cursor.text(), cursor.list_name, descending=cursor.descending, by_number=isinstance(cursor.key, str))


@given(st.text(min_size=1, max_size=200) | st.binary(min_size=1).map(lambda data: base64.b64encode(data).decode()))
def test_what_is_no_cursor_is_a_refusal_and_never_a_fault(text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        parse(text, "agents:", descending=True)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "parts",
    [
        [],
        {},
        [1, True, MOMENT, "i", False],
        ["agents:", True, None, "i", False],
        ["agents:", True, True, "i", False],
        ["agents:", True, MOMENT, 5, False],
        ["agents:", True, "zzz", "i", False],
        ["agents:", True, MOMENT[:-1], "i", False],
    ],
)
def test_a_forged_cursor_is_a_refusal(parts: object) -> None:
    text = "page_" + base64.urlsafe_b64encode(orjson.dumps(parts)).decode()
    with pytest.raises(ApiError):
        parse(text, "agents:", descending=True)


def test_a_filter_that_excludes_the_cursors_place_is_refused() -> None:
    cursor = Cursor("agents:", True, MOMENT, "agent_1").text()
    assert parse(cursor, "agents:", descending=True, created={"gte": "2026-01-01", "lt": "2026-01-03"})
    for bounds in ({"gte": "2026-01-03"}, {"gt": "2026-01-03"}, {"lt": "2026-01-01"}, {"lte": "2026-01-01"}):
        with pytest.raises(ApiError):
            parse(cursor, "agents:", descending=True, created=bounds)
