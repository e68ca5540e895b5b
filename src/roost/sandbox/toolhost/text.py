"""Making output fit: what a model is shown of a long result, and where the rest can be read."""

from __future__ import annotations

import os

BASH_LIMIT_BYTES = 102_400
"""contract/tools.md: the last 102,400 bytes, after a first line `[output truncated]`."""
SPILL_LIMIT_CHARS = 100_000
"""behaviour/03 section 3.3: a longer result goes to a file; the model gets a preview and the path."""
MAX_KEPT_BYTES = 4 * 1024 * 1024
"""How much of a flood of output is kept for that file."""
RESULTS_FOLDER = "/workspace/.roost/results"

_PREVIEW_CHARS = 4_000


def plain(output: bytes) -> str:
    """Output as text: no terminal escapes, no trailing newlines."""
    text = output.decode(errors="replace")
    if "\x1b" in text:
        import re

        text = re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])", "", text)
    return text.rstrip("\n")


def fit(call_id: str, text: str, dropped: bool) -> str:
    """The last of a command's output, or a preview and the path of the file with all that was kept of it."""
    if len(text) > SPILL_LIMIT_CHARS:
        return spill(call_id, text, dropped)
    data = text.encode(errors="replace")
    if not dropped and len(data) <= BASH_LIMIT_BYTES:
        return text
    return "[output truncated]\n" + data[-BASH_LIMIT_BYTES:].decode(errors="ignore")


def spill(call_id: str, text: str, dropped: bool = False) -> str:
    """Put the text in a file and return its preview; without a writable folder, only the preview."""
    path = f"{RESULTS_FOLDER}/{call_id}.txt"
    try:
        os.makedirs(RESULTS_FOLDER, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
        where = f"in {path}; read it in parts with view_range, or search it with grep"
    except OSError as error:
        where = f"lost: {path} could not be written ({error.strerror})"
    kept = f"last {len(text)}" if dropped else f"{len(text)}"
    left_out = f"[output truncated: {len(text) - 2 * _PREVIEW_CHARS} characters left out here]"
    return (
        f"{text[:_PREVIEW_CHARS]}\n{left_out}\n{text[-_PREVIEW_CHARS:]}\n"
        f"[output truncated: the {kept} characters of this result are {where}]"
    )


def long_read(path: str, text: str) -> str:
    """The start of a text that is too long for one result; the file it came from holds the rest."""
    return (
        f"{text[: 2 * _PREVIEW_CHARS]}\n[output truncated: {len(text)} characters were selected, "
        f"more than {SPILL_LIMIT_CHARS}; the whole text is in {path}, ask for parts of it with view_range]"
    )
