"""From what Pydantic says of a request to one sentence that names the field and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from roost.wire.errors import ApiError, invalid

_SHOWN_CHARS_MAX = 60


def complaint(error: ValidationError, value: Any) -> ApiError:
    """The error that lies deepest in what was sent: of a union's many, the one of the member that was meant."""
    found = [(_path(detail, value), detail) for detail in error.errors(include_url=False)]
    deepest = max(len(path) for path, _ in found)
    path, detail = next((path, detail) for path, detail in found if len(path) == deepest)
    same = [other for where, other in found if where == path]
    field, said = _said(detail)
    if len(same) > 1:
        said = " or ".join(dict.fromkeys(_said(other)[1] for other in same))
    where = ".".join(str(part) for part in (*path, *field))
    return invalid(f"{where}: {said}" if where else said)


def _path(detail: ErrorDetails, value: Any) -> tuple[int | str, ...]:
    """The error's place in what was sent. Names of union members, which Pydantic puts in between, are left out."""
    *inner, last = detail["loc"] or ("",)
    path: list[int | str] = []
    for part in inner:
        if _leads_into(value, part) and not (isinstance(value, Mapping) and value.get("type") == part):
            value = value[part]
            path.append(part)
    if _leads_into(value, last) or detail["type"] == "missing":
        path.append(last)
    return tuple(path)


def _leads_into(value: Any, part: int | str) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, Mapping) and part in value


def _said(detail: ErrorDetails) -> tuple[tuple[str, ...], str]:
    """(a field below the place, what is wrong there)."""
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return (), "is required"
        case "extra_forbidden":
            return (), "is not a field of this request"
        case "union_tag_invalid":
            tag = str(context["tag"])[:_SHOWN_CHARS_MAX]
            return (_field(context),), f"must be one of {context['expected_tags']}, not {tag!r}"
        case "union_tag_not_found":
            return (_field(context),), "is required"
        case "value_error":
            return (), str(context["error"])
        case "model_type" | "model_attributes_type":
            return (), "must be an object"
    return (), detail["msg"].replace("Input should", "must", 1)


def _field(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")
