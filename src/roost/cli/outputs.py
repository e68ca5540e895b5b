"""The files an agent leaves, written to a folder of the user under names that stay inside it."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import count
from pathlib import Path

import anthropic

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def download_outputs(client: anthropic.Anthropic, session_id: str, folder: Path) -> list[Path]:
    """Every file the session left in its outputs, flat in one folder, which is made when there is any.

    A file goes by the last part of its name, made fit by `local_name`; a name that came before gets a number, as in
    `x (2).txt`.
    """
    written: list[Path] = []
    for file in client.beta.files.list(scope_id=session_id):
        if file.downloadable:
            target = folder / _numbered(local_name(file.filename), {path.name for path in written})
            folder.mkdir(parents=True, exist_ok=True)
            client.beta.files.download(file.id).write_to_file(target)
            written.append(target)
    return written


def local_name(name: str) -> str:
    """What the server calls something, as a name in a folder: one part, no control characters, never `.` or `..`."""
    last = _UNFIT.sub("_", name.rpartition("/")[2])
    return "unnamed" if last in ("", ".", "..") else last


def _numbered(name: str, taken: Collection[str]) -> str:
    path = Path(name)
    numbered = (f"{path.stem} ({number}){path.suffix}" for number in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)
