"""Frames, however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.providers import sse
from roost.providers.sse import FrameReader

STREAM = (
    b": comment\n\nevent: ping\ndata: {}\n\n"
    b'event: a\r\ndata: {"text":"\xc3\xa4"}\r\n\r\n'
    b"data:one\ndata: two\nid: 7\n\n\n\nevent: empty\n\ndata: last\n\n"
)
FRAMES = [b"{}", b'{"text":"\xc3\xa4"}', b"one\ntwo", b"last"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_frames_do_not_depend_on_where_the_stream_is_cut(cuts: list[int]) -> None:
    reader = FrameReader()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == FRAMES


def test_a_frame_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "FRAME_BYTES_MAX", 100)
    reader = FrameReader()
    with pytest.raises(ValueError, match="too large"):
        reader.feed(b"data: x\n" * 200)
    with pytest.raises(ValueError, match="too large"):
        FrameReader().feed(b"x" * 101)
