"""What a request carries: its JSON body and its query, each read once and checked once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import Request

from roost.api.complaints import complaint
from roost.wire.errors import ApiError, invalid
from roost.wire.pages import Query
from roost.wire.shape import Params


class Nothing(Params):
    """The body of a call that takes none: empty, or `{}`."""


async def json_body(request: Request, kind: Any, limit_bytes: int) -> tuple[Any, str]:
    """(the body as its type, a digest of its bytes). Raises ApiError that names the field at fault."""
    _check_type(request.headers)
    raw = await _read(request, limit_bytes)
    return parsed(raw, kind), hashlib.sha256(raw).hexdigest()


def parsed(raw: bytes, kind: Any) -> Any:
    """Strict: a number in quotes is no number. Text that is no JSON, NaN included, is refused as such."""
    try:
        value = from_json(raw or b"{}", allow_inf_nan=False)
    except ValueError as error:
        raise invalid(f"The body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.")
    try:
        return _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise complaint(error, value) from None


def query(request: Request, kind: type[Query], otherwise: Mapping[str, str]) -> Query:
    """The query as its type, with values for what it does not name.

    A list may be written with or without brackets (contract/http.md, Query encoding).
    """
    lists = _lists(kind)
    given: dict[str, Any] = dict(otherwise)
    for name, text in request.query_params.multi_items():
        key = name if name in lists or f"{name}[]" not in lists else f"{name}[]"
        if key in lists:
            given.setdefault(key, []).append(text)
        else:
            given[key] = text
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise complaint(error, given) from None


def _check_type(headers: Headers) -> None:
    kind, _, parameters = headers.get("content-type", "application/json").partition(";")
    if kind.strip().lower() != "application/json":
        raise invalid("content-type: must be application/json")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise invalid("content-type: the charset must be utf-8", code="unsupported_charset")
    if headers.get("content-encoding", "identity") != "identity":
        raise invalid("content-encoding: is not supported for requests", code="request_body_encoding_unsupported")


async def _read(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Its announced length is checked before the first byte is read, its real one on the way."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > limit_bytes:
        raise too_large(limit_bytes)
    chunks, size_bytes = [], 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise too_large(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def too_large(limit_bytes: int) -> ApiError:
    return ApiError(413, f"The request is larger than {limit_bytes} bytes.")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@cache
def _lists(kind: type[Query]) -> frozenset[str]:
    fields = kind.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if get_origin(field.annotation) is list)
