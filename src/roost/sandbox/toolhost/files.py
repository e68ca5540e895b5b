"""`read`, `write` and `edit` (contract/tools.md, Python reference; where ours differs it is said here).

There is no path policy: the sandbox itself is the confinement, and `bash` could go round one. Relative paths resolve
against `/workspace`; what is read-only is read-only by its mount. `write` counts bytes, as TypeScript does, and `edit`
refuses an empty `old_string`, as TypeScript does.
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, EROFS

from .calls import ToolError, text_result
from .text import SPILL_LIMIT_CHARS, long_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .calls import Call, Result

TEXT_LIMIT_BYTES = 262_144
IMAGE_LIMIT_BYTES = 5 * 1024 * 1024
"""Of base64."""
PDF_LIMIT_BYTES = 20 * 1024 * 1024
"""Raw."""

_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_REASONS = {
    ENOENT: "no such file or directory",
    ENOTDIR: "not a directory",
    EISDIR: "is a directory",
    EEXIST: "file already exists",
    ELOOP: "too many levels of symbolic links",
}


def failure(tool: str, path: str, error: OSError) -> ToolError:
    """`<tool>: <path>: <reason>`, the contract's form for what the file system refuses."""
    if error.errno == EROFS:
        return ToolError(f"{tool}: {path} is inside read-only directory {_mount_of(path)}")
    reason = _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return ToolError(f"{tool}: {path}: {reason}")


def read(call: Call, input: dict[str, Any]) -> Result:
    path, view_range = input["file_path"], input.get("view_range")
    try:
        with _open_regular("read", path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            extension = os.path.splitext(path)[1].lower()
            if extension in _IMAGES or extension == ".pdf":
                return _media(path, extension, file, size_bytes, view_range)
            data = _lines(path, file, view_range) if view_range else _whole("read", path, file)
    except OSError as error:
        raise failure("read", path, error) from None
    text = _decode("read", path, data)
    return text_result(text if len(text) <= SPILL_LIMIT_CHARS else long_read(path, text))


def write(call: Call, input: dict[str, Any]) -> Result:
    path = input["file_path"]
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        size_bytes = _replace("write", path, input["content"])
    except OSError as error:
        raise failure("write", path, error) from None
    return text_result(f"wrote {size_bytes} bytes to {path}")


def edit(call: Call, input: dict[str, Any]) -> Result:
    path, old, new = input["file_path"], input["old_string"], input["new_string"]
    if not old:
        raise ToolError("edit: old_string must not be empty")
    try:
        with _open_regular("edit", path) as file:
            text = _decode("edit", path, _whole("edit", path, file))
        count = text.count(old)
        if count == 0:
            raise ToolError(f"edit: old_string not found in {path}")
        if count > 1 and not input.get("replace_all"):
            raise ToolError(f"edit: old_string appears {count} times in {path} (must be unique)")
        _replace("edit", path, text.replace(old, new))
    except OSError as error:
        raise failure("edit", path, error) from None
    return text_result(f"edited {path} ({count} replacement(s))")


def _open_regular(tool: str, path: str) -> Any:
    """The file, open for reading. Checked before opening; should a FIFO take its place, opening does not wait."""
    _require_regular(tool, path)
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _require_regular(tool: str, path: str) -> None:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise OSError(EISDIR, "is a directory")
    if not stat.S_ISREG(mode):
        raise ToolError(f"{tool}: {path}: not a regular file")


def _whole(tool: str, path: str, file: Any) -> bytes:
    data: bytes = file.read(TEXT_LIMIT_BYTES + 1)
    if len(data) > TEXT_LIMIT_BYTES:
        size_bytes = max(os.fstat(file.fileno()).st_size, len(data))
        hint = "; read a part of it with view_range" if tool == "read" else ""
        raise ToolError(f"{tool}: {path} is {size_bytes} bytes, over the limit of {TEXT_LIMIT_BYTES} bytes{hint}")
    return data


def _lines(path: str, file: Any, view_range: list[int]) -> bytes:
    """Lines first to last, counted from one; a last line of 0 or less means to the end."""
    if len(view_range) != 2 or not all(type(bound) is int for bound in view_range):
        raise ToolError("read: view_range must be [start_line, end_line]")
    first, last = view_range
    chosen = bytearray()
    number = 1
    while last <= 0 or number <= last:
        line = file.readline(TEXT_LIMIT_BYTES + 1)
        if not line:
            break
        if number >= first:
            chosen += line
        if len(line) > TEXT_LIMIT_BYTES and number >= first:
            raise ToolError(f"read: line {number} of {path} alone is over the limit of {TEXT_LIMIT_BYTES} bytes")
        if len(chosen) > TEXT_LIMIT_BYTES:
            raise ToolError(
                f"read: lines {max(first, 1)} to {number} of {path} are over the limit of {TEXT_LIMIT_BYTES} bytes; "
                "ask for fewer lines"
            )
        number += line.endswith(b"\n")
    return bytes(chosen)


def _media(path: str, extension: str, file: Any, size_bytes: int, view_range: list[int] | None) -> Result:
    from binascii import b2a_base64

    kind = "image" if extension in _IMAGES else "document"
    limit_bytes = IMAGE_LIMIT_BYTES * 3 // 4 if kind == "image" else PDF_LIMIT_BYTES
    if view_range:
        raise ToolError(f"read: {path}: view_range is for text files")
    data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ToolError(
            f"read: {path} is {size_bytes} bytes, over the limit of {limit_bytes} bytes for this kind of file"
        )
    source = {
        "type": "base64",
        "media_type": _IMAGES.get(extension, "application/pdf"),
        "data": b2a_base64(data, newline=False).decode(),
    }
    return {"content": [{"type": kind, "source": source}], "is_error": False}


def _decode(tool: str, path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ToolError(f"{tool}: {path}: not valid UTF-8 text") from None


def _replace(tool: str, path: str, text: str) -> int:
    """Overwrite in place, which keeps the file's mode, owner and links. Answers with the number of bytes."""
    if os.path.exists(path):
        _require_regular(tool, path)
    data = text.encode(errors="replace")
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK, 0o666)) as file:
        file.write(data)
    return len(data)


def _mount_of(path: str) -> str:
    folder = os.path.realpath(path)
    while not os.path.ismount(folder):
        folder = os.path.dirname(folder)
    return folder
