"""Files (contract/skills-files.md, Files)."""

from __future__ import annotations

import re
from typing import Literal

from roost.wire.errors import invalid
from roost.wire.shape import Wire

FILE_NAME_CHARS_MAX = 255
EXPIRES_S_MIN = 3_600
EXPIRES_S_MAX = 7_776_000

_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f-\x9f]')


class FileScope(Wire):
    """Where a file belongs: the session that made it, or that mounts it."""

    type: Literal["session"] = "session"
    id: str


class FileMetadata(Wire):
    id: str
    type: Literal["file"] = "file"
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: bool = True
    expires_at: str | None = None
    scope: FileScope | None = None


def file_name(sent: str | None, extension: str) -> str:
    """The last part of what was sent; `unnamed` plus the extension where nothing is left of it.

    Raises ApiError for a name with characters that some file system cannot hold, or longer than 255.
    """
    name = (sent or "").rpartition("/")[2]
    if not name:
        return f"unnamed{extension}"
    if _FORBIDDEN.search(name) or name in (".", "..") or len(name) > FILE_NAME_CHARS_MAX:
        raise invalid(
            f"file: the filename must have 1 to {FILE_NAME_CHARS_MAX} characters, none of them a control character or "
            'one of < > : " | ? * \\ /'
        )
    return name


def allowed_name(name: str) -> str:
    """A name from a sandbox as `file_name` would take it: `_` stands for every character that it refuses."""
    return _FORBIDDEN.sub("_", name)[:FILE_NAME_CHARS_MAX]


def expires_in(text: str | None) -> int | None:
    """The form field `expires_in_seconds`. Raises ApiError outside one hour to ninety days."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not EXPIRES_S_MIN <= int(text) <= EXPIRES_S_MAX:
        raise invalid(f"expires_in_seconds: must be a whole number from {EXPIRES_S_MIN} to {EXPIRES_S_MAX}")
    return int(text)
