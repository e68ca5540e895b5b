"""docs/reference/settings.md, made from the code: `make docs` writes it, a test compares it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from roost.core.settings import CLIENT_VARIABLES, RateLimits, Settings, variable

INTRODUCTION = """\
# Settings

Every limit and default of the server. Each is an environment variable, read once at start; an option of `roost serve`
wins over it. A value that cannot be used stops the start with a message that names the variable; a `ROOST_` variable
that does not exist is reported with the nearest name. Names ending in `_S` are seconds, in `_BYTES_MAX` bytes.

This page is made from `src/roost/core/settings.py` by `make docs`.

| Variable | Default | Meaning |
|---|---|---|
"""


def page() -> str:
    hints = get_type_hints(Settings)
    rows = [
        f"| `{variable(item.name)}` | {_default(item.default)} | {item.metadata['doc']}{_choices(hints[item.name])} |"
        for item in fields(Settings)
    ]
    client = [f"| `{name}` | {meaning} |" for name, meaning in CLIENT_VARIABLES.items()]
    lines = [*rows, "", "Read by the command line only:", "", "| Variable | Meaning |", "|---|---|", *client]
    return INTRODUCTION + "\n".join(lines) + "\n"


def _choices(kind: Any) -> str:
    if get_origin(kind) is not Literal:
        return ""
    return " (" + ", ".join(f"`{choice}`" for choice in get_args(kind)) + ")"


def _default(value: Any) -> str:
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case RateLimits():
            return f"`create={value.create},read={value.read}`"
        case int() | float():
            return f"{value:,}"
        case str() | Path():
            return f"`{value}`"
    raise TypeError(f"no way to show {value!r}")


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  (the page is this program's output)
