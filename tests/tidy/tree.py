"""The tree as the tidy tests see it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "roost"
CODE = ("src", "tests", "benchmarks", "examples")
TEXT = {".py", ".md", ".toml", ".sql", ".json", ".yaml", ".yml", ".sh", ".txt", ".lock", ".js", ".ts", ".mjs", ""}


@cache
def files() -> tuple[Path, ...]:
    """Every file that git tracks or would; without git, every file outside folders that are built."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        built = {".venv", "build", "dist", "node_modules", "__pycache__", "roost-data"}
        found = [path for path in ROOT.rglob("*") if not built.intersection(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in found if path.is_file() and ".git" not in path.parts))


def modules(*tops: str) -> list[Path]:
    """The Python files below these folders."""
    return [path for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in tops]


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        if path.suffix in TEXT:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def dotted(path: Path) -> str:
    """`src/roost/core/clock.py` as `roost.core.clock`."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
