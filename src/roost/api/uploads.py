"""Multipart forms with one file, streamed into the blob store: a file is never held in memory."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from roost.api.body import too_large
from roost.operations.resource import Upload
from roost.store.protocols import Blob, Blobs
from roost.wire.errors import ApiError, invalid

FORM_BYTES_MAX = 64 * 1024
"""What a form may hold besides its file: boundaries, headers, text fields."""
FIELD_BYTES_MAX = 1_024
FILE = "file"
FIELDS = ("expires_in_seconds",)


async def upload(request: Request, blobs: Blobs, limit_bytes: int) -> tuple[Upload, str]:
    """(the file, stored; a digest of all that the form says). Raises ApiError; parts may come in any order."""
    form = Form(request, limit_bytes)
    blob: Blob | None = None
    head, fields = Head("", None, None), dict[str, str]()
    while (part := await form.next_part()) is not None:
        if part.name == FILE and blob is None:
            head, blob = part, await _stored(form, blobs, limit_bytes)
        elif part.name in FIELDS and part.name not in fields:
            fields[part.name] = await form.text(part.name)
        else:
            raise invalid(f"{part.name[:100]}: is not a field of this form, or was sent twice")
    if blob is None:
        raise invalid(f"{FILE}: is required")
    said = repr((blob.sha256, head.filename, head.mime_type, sorted(fields.items())))
    found = Upload(blob.sha256, blob.size_bytes, head.filename, head.mime_type, fields)
    return found, hashlib.sha256(said.encode()).hexdigest()


async def _stored(form: Form, blobs: Blobs, limit_bytes: int) -> Blob:
    try:
        return await blobs.put(form.data(), limit_bytes=limit_bytes)
    except ValueError:
        raise too_large(limit_bytes) from None


@dataclass(frozen=True, slots=True)
class Head:
    """What a part says of itself."""

    name: str
    filename: str | None
    mime_type: str | None


class Form:
    """A multipart body, read part by part as it arrives."""

    def __init__(self, request: Request, limit_bytes: int) -> None:
        announced = request.headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > limit_bytes + FORM_BYTES_MAX:
            raise too_large(limit_bytes)
        kind, options = parse_options_header(request.headers.get("content-type"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise invalid("content-type: must be multipart/form-data with a boundary")
        self._chunks = aiter(request.stream())
        self._found: deque[Head | bytes | None] = deque()
        """Heads of parts, their data, and None at each part's end."""
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = bytearray(), bytearray()
        self._spent_bytes = 0
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header_ended,
                "on_headers_finished": self._headers_ended,
                "on_part_data": lambda data, start, end: self._found.append(data[start:end]),
                "on_part_end": lambda: self._found.append(None),
                "on_end": self._completed,
            },
        )

    async def next_part(self) -> Head | None:
        """The next part's head; None after the last part."""
        item = await self._next()
        while item is not None and not isinstance(item, Head):
            item = await self._next()
        return item

    async def data(self) -> AsyncIterator[bytes]:
        """The current part's content."""
        while (item := await self._next()) is not None:
            if isinstance(item, bytes):
                yield item

    async def text(self, name: str) -> str:
        content = b""
        async for chunk in self.data():
            content += chunk
            if len(content) > FIELD_BYTES_MAX:
                raise invalid(f"{name}: is longer than {FIELD_BYTES_MAX} bytes")
        return content.decode("utf-8", "replace")

    async def _next(self) -> Head | bytes | None:
        """What comes next; None at the end of a part, and at the end of the form."""
        while not self._found:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._check_complete()
                return None
            self._feed(chunk)
        return self._found.popleft()

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(error) from None
        self._spent_bytes += len(chunk) - sum(len(item) for item in self._found if isinstance(item, bytes))
        if self._spent_bytes > FORM_BYTES_MAX:
            raise invalid("The form holds too much besides its file.")

    def _check_complete(self) -> None:
        """Without its closing boundary the form was cut off, and so may be its file."""
        if not self._complete:
            raise _broken("it ends too early")

    def _completed(self) -> None:
        self._complete = True

    def _header_ended(self) -> None:
        self._headers[bytes(self._field).lower()] = bytes(self._value)
        self._field.clear()
        self._value.clear()

    def _headers_ended(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._found.append(
            Head(_text(options, b"name") or "", _text(options, b"filename"), _plain(self._headers.get(b"content-type")))
        )


def _text(options: Mapping[bytes, bytes], name: bytes) -> str | None:
    return _plain(options.get(name))


def _plain(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value is not None else None


def _broken(error: object) -> ApiError:
    return invalid(f"The form cannot be read: {error}")
