"""From what Pydantic says of a request to one sentence that names the field and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from roost.wire.errors import ApiError, invalid

_SHOWN_CHARS_MAX = 60

_SAID: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "value_error": "{error}",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
}
"""What is said for each kind of Pydantic's errors; of those that are not here, its own words are."""


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
        case "union_tag_invalid":
            tag = str(context["tag"])[:_SHOWN_CHARS_MAX]
            return (_field(context),), f"must be one of {context['expected_tags']}, not {tag!r}"
        case "union_tag_not_found":
            return (_field(context),), "is required"
        case kind if kind in _SAID:
            return (), _SAID[kind].format(**context)
    return (), detail["msg"].replace("Input should", "must", 1)


def _field(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")
