"""The six tools by name, and the check of their input (contract/tools.md, Inputs)."""

from __future__ import annotations

from . import files
from .calls import ToolError, text_result
from .shell import Shell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .calls import Call, Result
    from .processes import Children

_WORDS = {str: "a string", int: "an integer", bool: "true or false", list: "a list of two integers"}
_INPUTS: dict[str, dict[str, tuple[type, bool]]] = {
    "bash": {"command": (str, False), "restart": (bool, False), "timeout_ms": (int, False)},
    "read": {"file_path": (str, True), "view_range": (list, False)},
    "write": {"file_path": (str, True), "content": (str, True)},
    "edit": {
        "file_path": (str, True),
        "old_string": (str, True),
        "new_string": (str, True),
        "replace_all": (bool, False),
    },
    "glob": {"pattern": (str, True), "path": (str, False)},
    "grep": {"pattern": (str, True), "path": (str, False)},
}


class Tools:
    """Runs a tool in the calling thread; whatever goes wrong becomes an error result."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._shell = Shell(children)

    def run(self, call: Call, name: str, input: Any) -> Result:
        try:
            _check(name, input)
            return self._pick(name)(call, input)
        except ToolError as error:
            return text_result(str(error), is_error=True)
        except Exception as error:
            return text_result(f"{name}: {type(error).__name__}: {error}", is_error=True)

    def _pick(self, name: str) -> Callable[[Call, dict[str, Any]], Result]:
        if name == "bash":
            return self._shell.run
        if name in ("glob", "grep"):
            from . import search

            return search.glob if name == "glob" else search.Grep(self._children).run
        return {"read": files.read, "write": files.write, "edit": files.edit}[name]


def _check(name: str, input: Any) -> None:
    """Raises ToolError naming the field that is missing or of the wrong kind. Null is as good as absent."""
    if name not in _INPUTS:
        raise ToolError(f"there is no tool '{name}' in this sandbox")
    if not isinstance(input, dict):
        raise ToolError(f"{name}: the input must be an object")
    for field, (kind, required) in _INPUTS[name].items():
        value = input.get(field)
        if value is None:
            if required:
                raise ToolError(f"{name}: {field} is required")
        elif type(value) is not kind:
            raise ToolError(f"{name}: {field} must be {_WORDS[kind]}")
    if (input.get("timeout_ms") or 0) < 0:
        raise ToolError(f"{name}: timeout_ms must not be negative")
    if "\0" in (input.get("file_path") or input.get("path") or ""):
        raise ToolError(f"{name}: a path cannot contain a NUL character")
