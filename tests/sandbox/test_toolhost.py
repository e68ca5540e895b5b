"""The toolhost's own parts against simple models: frames, ledger, edit, view_range, glob, grep."""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.sandbox.toolhost import calls, files, frames, search, text, walkgrep
from roost.sandbox.toolhost.calls import Call, Ledger, Stale, ToolError, text_result

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
names = st.sampled_from(["a", "b", "ab", ".h", "a.py", "b.txt"])
trees = st.sets(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=8)
globs = st.lists(
    st.sampled_from(["**", "*", "a", "?", "a*", "*.py", "[ab]", "[!a]", "{a,b}", ".*"]), min_size=1, max_size=3
)


def said(result: calls.Result) -> str:
    return str(result["content"][0]["text"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toolhost")


def fresh(folder: Path) -> Path:
    """A new folder for each example, since hypothesis runs many in one test."""
    path = folder / str(next(_numbers))
    path.mkdir()
    return path


_numbers = itertools.count()


@given(values)
def test_frames_are_json(value: Any) -> None:
    assert json.loads(frames.encode(value)) == value
    assert frames.decode(json.dumps(value).encode()) == value
    assert "\n" not in frames.encode(value)


@pytest.mark.parametrize("line", [b"", b"{", b"nope", b"\xff", b'{"a":'])
def test_what_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        frames.decode(line)


def test_lines_arrive_whole_however_they_were_cut() -> None:
    read, write = os.pipe()
    connection = frames.Connection(read)
    os.write(write, b"one\ntw")
    lines = connection.lines()
    assert next(lines) == b"one"
    os.write(write, b"o\nthree\n")
    os.close(write)
    assert list(lines) == [b"two", b"three"]
    connection.close()


@given(st.text(), st.text(min_size=1, max_size=3), st.text(max_size=3), st.booleans())
def test_edit_replaces_what_is_unique_or_everything(folder: Path, before: str, old: str, new: str, every: bool) -> None:
    path = fresh(folder) / "file"
    path.write_bytes(before.encode())
    change = {"file_path": str(path), "old_string": old, "new_string": new, "replace_all": every}
    count = before.count(old)
    if count == 1 or (count > 1 and every):
        assert said(files.edit(Call("c"), change)) == f"edited {path} ({count} replacement(s))"
        assert path.read_bytes() == new.join(before.split(old)).encode()
    else:
        with pytest.raises(ToolError):
            files.edit(Call("c"), change)
        assert path.read_bytes() == before.encode()


@given(
    st.lists(st.text(alphabet="aä\r", max_size=4), max_size=6), st.booleans(), st.integers(-2, 8), st.integers(-2, 8)
)
def test_view_range_selects_lines_counted_from_one(
    folder: Path, lines: list[str], ends: bool, first: int, last: int
) -> None:
    content = "\n".join(lines) + ("\n" if ends else "")
    path = fresh(folder) / "file"
    path.write_bytes(content.encode())
    whole = content.split("\n")
    kept = [line + "\n" for line in whole[:-1]] + ([whole[-1]] if whole[-1] else [])
    wanted = "".join(kept[max(first, 1) - 1 : last if last > 0 else None])
    shown = said(files.read(Call("c"), {"file_path": str(path), "view_range": [first, last]}))
    assert shown == (wanted or "(no output)")


def test_a_range_of_a_big_file_is_read_and_one_too_long_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_text("short\n" + "x" * 300_000 + "\nlast\n")
    with pytest.raises(ToolError, match="over the limit of 262144 bytes"):
        files.read(Call("c"), {"file_path": str(path)})
    assert said(files.read(Call("c"), {"file_path": str(path), "view_range": [1, 1]})) == "short\n"
    with pytest.raises(ToolError, match=r"line 2 of .* alone"):
        files.read(Call("c"), {"file_path": str(path), "view_range": [2, 2]})


def glob_model(root: Path, pattern: str) -> Iterator[str]:
    """Every path below the root, matched segment by segment, the slow and plain way."""

    def match(parts: list[str], rules: list[str]) -> bool:
        if not rules:
            return not parts
        if rules[0] == "**":
            return match(parts, rules[1:]) or (bool(parts) and match(parts[1:], rules))
        return bool(parts) and fnmatch.fnmatchcase(parts[0], rules[0]) and match(parts[1:], rules[1:])

    for path in root.rglob("*"):
        if match(list(path.relative_to(root).parts), pattern.split("/")):
            yield str(path)


@settings(deadline=None)
@given(trees, globs)
def test_glob_finds_what_the_model_finds(folder: Path, tree: set[str], segments: list[str]) -> None:
    root = fresh(folder)
    for name in tree:
        path = root / name
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    pattern = "/".join(segments)
    choices = itertools.product(*(["a", "b"] if segment == "{a,b}" else [segment] for segment in segments))
    alternatives = ["/".join(choice) for choice in choices]
    wanted = {path for alternative in alternatives for path in glob_model(root, alternative)}
    assert set(search.matches(Call("c"), str(root), pattern)) == wanted


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("{a,b{c,d}}e", ["ae", "bce", "bde"]),
        ("{a", ["{a"]),
        ("a}", ["a}"]),
        (r"\{a,b\}", [r"\{a,b\}"]),
        ("{}", [""]),
        ("{,x}y", ["y", "xy"]),
    ],
)
def test_braces_expand(pattern: str, wanted: list[str]) -> None:
    assert search.expand_braces(pattern) == wanted


def test_glob_follows_no_link_out_of_its_folder_and_no_circle(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.py").touch()
    (root / "inside.py").touch()
    (root / "out").symlink_to(tmp_path)
    (root / "self").symlink_to(root)
    (root / "file.py").symlink_to(tmp_path / "outside.py")
    assert list(search.matches(Call("c"), str(root), "**/*.py")) == [str(root / "inside.py")]
    assert list(search.matches(Call("c"), str(root), "out/*.py")) == []


def test_glob_stops_at_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (tmp_path / str(number)).touch()
    assert said(search.glob(Call("c"), {"pattern": "*", "path": str(tmp_path)})).count("\n") == search.GLOB_RESULTS - 1
    monkeypatch.setattr(search, "WALK_LIMIT", 10)
    assert len(list(search.matches(Call("c"), str(tmp_path), "*"))) == 10


@given(
    st.dictionaries(names, st.lists(st.text(alphabet="ab", max_size=3), max_size=4), max_size=4),
    st.sampled_from(["a", "^b", "a.b", "b$"]),
)
def test_the_built_in_grep_finds_what_the_model_finds(folder: Path, tree: dict[str, list[str]], pattern: str) -> None:
    root = fresh(folder)
    wanted = []
    for name, lines in sorted(tree.items()):
        (root / name).write_text("\n".join(lines))
        found = [(number, line) for number, line in enumerate(lines, 1) if re.search(pattern, line)]
        wanted += [f"{root}/{name}:{number}:{line}\n" for number, line in found]
    assert run_grep(pattern, root) == ("".join(wanted), 0 if wanted else 1)


def run_grep(pattern: str, root: Path) -> tuple[str, int]:
    read, write = os.pipe()
    saved = sys.stdout
    with os.fdopen(read, "rb") as reading, os.fdopen(write, "w") as sys.stdout:
        try:
            code = walkgrep.main(pattern, str(root))
        finally:
            sys.stdout.close()
            sys.stdout = saved
        return reading.read().decode(), code


def test_the_built_in_grep_skips_what_the_reference_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".git/a", "node_modules/a", "kept/a"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("hit\n")
    (tmp_path / "binary").write_bytes(b"hit\0")
    (tmp_path / "long").write_text("hit" + "x" * 2_000)
    (tmp_path / "link").symlink_to(tmp_path / "kept/a")
    os.mkfifo(tmp_path / "pipe")
    assert run_grep("hit", tmp_path) == (f"{tmp_path}/kept/a:1:hit\n", 0)
    monkeypatch.setattr(sys, "stderr", StringIO())
    assert run_grep("(", tmp_path) == ("", 2)


def test_a_call_runs_once_and_everybody_gets_its_result() -> None:
    ledger = Ledger()
    got: list[calls.Result] = []
    call = ledger.begin("a", 1, got.append)
    assert call is not None
    assert ledger.begin("a", 1, got.append) is None
    ledger.finish(call, text_result("done"))
    ledger.finish(call, text_result("too late"))
    assert ledger.begin("a", 2, got.append) is None
    assert [said(result) for result in got] == ["done"] * 3
    with pytest.raises(Stale):
        ledger.begin("b", 1, got.append)
    with pytest.raises(Stale):
        ledger.find("a", 1)


def test_the_ledger_drops_old_results_before_it_forgets_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_RESULT_BYTES", 1_000)
    monkeypatch.setattr(calls, "MAX_CALLS", 10)
    ledger = Ledger()
    got: list[calls.Result] = []
    running = ledger.begin("running", 1, got.append)
    for number in range(20):
        call = ledger.begin(f"c{number}", 1, got.append)
        assert call is not None
        ledger.finish(call, text_result("x" * 300))
    newest = ledger.find("c19", 1)
    assert newest is not None
    assert newest.result is not None
    assert said(newest.result) == "x" * 300
    old = ledger.find("c12", 1)
    assert old is not None
    assert old.result is not None
    assert "no longer kept" in said(old.result)
    assert ledger.find("c0", 1) is None
    assert ledger.find("running", 1) is running


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\n\n", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\xff", "�"),
        (b"", ""),
    ],
)
def test_output_becomes_plain_text(output: bytes, shown: str) -> None:
    assert text.plain(output) == shown
