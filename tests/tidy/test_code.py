"""The code stays small, well named and alive."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tidy.tree import CODE, PACKAGE, ROOT, dotted, modules, parsed

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
LONGER_MODULES: dict[str, str] = {}
"""Module -> the reason why it may be longer."""
LONGER_FUNCTIONS: dict[str, str] = {}
"""module:function -> the reason why it may be longer."""

BANNED_MODULES = {"util", "utils", "common", "helper", "helpers", "base", "misc", "manager", "impl"}
BANNED_IN_CLASSES = re.compile(r"(Manager|Impl|Helper|Util|Base)([A-Z]|s?$)")

STARTED_BY_NAME = {
    "roost.sandbox.attacks": "what must not be possible in a sandbox; for tests, also other people's",
    "roost.sandbox.conformance": "the suite that a backend must pass; for tests, also other people's",
    "roost.store.conformance": "the suite that a store must pass; for tests, also other people's",
}
"""Modules that no other one imports -> who starts them instead."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def test_no_function_is_longer_than_a_screen() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in modules(*CODE)
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long == LONGER_FUNCTIONS.keys()


def test_no_module_is_longer_than_a_sitting() -> None:
    long = {
        str(path.relative_to(ROOT))
        for path in modules(*CODE)
        if len(path.read_text(encoding="utf-8").splitlines()) > MODULE_LINES_MAX
    }
    assert long == LONGER_MODULES.keys()


def test_no_name_says_nothing() -> None:
    named_badly = [
        str(path.relative_to(ROOT))
        for path in modules(*CODE)
        if BANNED_MODULES.intersection(re.split(r"[_/.]", str(path.relative_to(ROOT).with_suffix(""))))
    ]
    classes = [
        f"{path.relative_to(ROOT)}:{node.name}"
        for path in modules(*CODE)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef) and BANNED_IN_CLASSES.search(node.name)
    ]
    assert named_badly + classes == []


def imported_modules() -> Iterator[tuple[str, str]]:
    """(importer, name imported); `from a import b` counts as `a` and as `a.b`."""
    for path in modules("src"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                yield from ((dotted(path), alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                module = ".".join(filter(None, (package(path, node.level), node.module)))
                yield dotted(path), module
                yield from ((dotted(path), f"{module}.{alias.name}") for alias in node.names)


def package(path: Path, level: int) -> str:
    """What the dots of a relative import stand for; empty for an absolute one."""
    folders = path.relative_to(ROOT / "src").parts[:-1]
    return ".".join(folders[: len(folders) - level + 1]) if level else ""


def named_in_strings() -> set[str]:
    """Modules that are started by their dotted name or file: lazy commands, `python -m`, the process in the sandbox."""
    words = set()
    for path in modules("src"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                words.update(re.findall(r"[\w.]+", node.value))
    return words


def test_every_module_is_used_by_another_one() -> None:
    used = {name for importer, name in imported_modules() if importer != name}
    words = named_in_strings()
    dead = []
    for path in modules("src"):
        name = dotted(path)
        if path.name in ("__init__.py", "__main__.py") or name in STARTED_BY_NAME or name in used:
            continue
        if name not in words and f"{path.parent.name}.{path.stem}" not in words and path.name not in words:
            dead.append(name)
    assert dead == []


def test_a_module_that_is_started_by_name_exists() -> None:
    names = {dotted(path) for path in modules("src")}
    assert {name for name in STARTED_BY_NAME if name not in names} == set()


def test_no_test_sleeps() -> None:
    """A test waits for what it waits for. `asyncio.sleep(0)` only gives way and is allowed."""
    sleeps = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules("tests")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "asyncio.sleep", "sleep", "anyio.sleep")
        and [ast.unparse(argument) for argument in node.args] != ["0"]
    ]
    assert sleeps == []


def test_every_setting_is_read_somewhere() -> None:
    from dataclasses import fields

    from roost.core.settings import Settings

    read = {
        node.attr
        for path in modules("src")
        if path != PACKAGE / "core" / "settings.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
    }
    assert {field.name for field in fields(Settings)} - read == set()
