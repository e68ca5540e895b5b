"""The numbered steps that brought each dialect's schema to where it is. A step, once released, never changes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the schema's version after it, its name, and its SQL."""

    version: int
    name: str
    sql: str


def migrations(dialect: str) -> list[Migration]:
    """The steps of a dialect, oldest first; versions count from 1 without gaps."""
    folder = resources.files(__package__) / dialect
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    steps = [Migration(int(file.name[:4]), file.name, file.read_text(encoding="utf-8")) for file in files]
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"the migrations of {dialect} are not numbered 1 to {len(steps)}")
    return steps
