"""Where a mounted file appears (behaviour/01 section 1.5)."""

from __future__ import annotations

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.operations.mounts import mount_path
from roost.wire.resources import UPLOADS


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        (None, "/mnt/session/uploads/file_1"),
        ("/data.csv", "/mnt/session/uploads/data.csv"),
        ("data.csv", "/mnt/session/uploads/data.csv"),
        ("//a//b.csv", "/mnt/session/uploads/a/b.csv"),
        ("/mnt/session/uploads/a.csv", "/mnt/session/uploads/a.csv"),
        ("/etc/passwd", "/mnt/session/uploads/etc/passwd"),
    ],
)
def test_a_path_is_rooted_below_the_uploads(sent: str | None, path: str) -> None:
    assert mount_path(sent, "file_1") == path


@given(st.text(st.sampled_from("a./\\~ \0é"), max_size=30))
def test_no_path_leads_out_of_the_uploads(sent: str) -> None:
    try:
        path = mount_path(sent, "file_1")
    except ValueError:
        return
    assert posixpath.normpath(path) == path
    assert path.startswith(f"{UPLOADS}/")
