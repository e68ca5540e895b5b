"""Files: uploaded, listed, downloaded, deleted (contract/skills-files.md, behaviour/01 section 1.5)."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import orjson
from pydantic import Field

from roost.core.clock import parse_timestamp, timestamp
from roost.core.ids import new_id
from roost.operations.lists import listed
from roost.operations.resource import Context, Download, Reply, Upload, Write
from roost.store.protocols import Batch, ObjectQuery, ObjectRow
from roost.store.statements import object_delete, object_insert
from roost.wire.errors import ApiError, invalid, not_found
from roost.wire.fields import Id
from roost.wire.files import FileMetadata, expires_in, file_name
from roost.wire.pages import LIMIT_DEFAULT, Cursor, LongLimit, Query, page
from roost.wire.shape import encode

IDS_MAX = 100
BINARY = "application/octet-stream"

_MIME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")


class FilesQuery(Query):
    ids: list[Id] = Field([], alias="ids[]")
    scope_id: Annotated[str, Field(max_length=128)] | None = None
    limit: LongLimit = LIMIT_DEFAULT
    page: Cursor | None = None


async def upload(ctx: Context, *, body: Upload) -> Write:
    """Its bytes are stored already; what is written here is the record."""
    now = ctx.now()
    mime_type = _mime_type(body)
    expires_s = expires_in(body.fields.get("expires_in_seconds"))
    metadata = FileMetadata(
        id=new_id("file"),
        filename=file_name(body.filename, mimetypes.guess_extension(mime_type) or ""),
        mime_type=mime_type,
        size_bytes=body.size_bytes,
        created_at=now,
        expires_at=timestamp(parse_timestamp(now) + timedelta(seconds=expires_s)) if expires_s else None,
    )
    row = ObjectRow(
        workspace_id=ctx.workspace_id,
        kind="file",
        id=metadata.id,
        created_at=now,
        updated_at=now,
        body=metadata.encode(),
        private=encode({"sha256": body.sha256, "path": None}),
    )
    return Write(Batch((object_insert(row),)), Reply(row.body))


async def list_(ctx: Context, *, query: FilesQuery) -> Reply:
    """Newest first; with `ids[]` one page in the order asked, without those that do not exist."""
    ids = list(dict.fromkeys(query.ids))
    if not ids:
        wanted = ObjectQuery(ctx.workspace_id, "file", parent_id=query.scope_id, limit=query.limit)
        return await listed(ctx, wanted, query.page)
    if query.model_fields_set & {"limit", "page"}:
        raise invalid("ids[]: excludes limit and page")
    if len(ids) > IDS_MAX:
        raise invalid(f"ids[]: at most {IDS_MAX} different ids are allowed")
    rows = await ctx.store.objects.many(ctx.workspace_id, "file", ids)
    return Reply(page([row.body for row in rows if query.scope_id in (None, row.parent_id)], None))


async def retrieve(ctx: Context, *, file_id: str) -> Reply:
    return Reply((await _existing(ctx, file_id)).body)


async def download(ctx: Context, *, file_id: str) -> Download:
    row = await _existing(ctx, file_id)
    metadata = FileMetadata.model_validate_json(row.body)
    if metadata.expires_at and metadata.expires_at <= ctx.now():
        raise ApiError(404, f"The file {file_id} has expired.", code="file_expired")
    sha256: str = orjson.loads(row.private or b"{}")["sha256"]
    chunks = await _opened(ctx.store.blobs.read(sha256), file_id)
    return Download(chunks, metadata.size_bytes, metadata.mime_type, metadata.filename)


async def delete(ctx: Context, *, file_id: str) -> Write:
    await _existing(ctx, file_id)
    gone = object_delete(ctx.workspace_id, "file", file_id)
    return Write(Batch((gone,)), Reply(encode({"id": file_id, "type": "file_deleted"})))


async def _existing(ctx: Context, file_id: str) -> ObjectRow:
    row = await ctx.store.objects.get(ctx.workspace_id, "file", file_id)
    if row is None:
        raise not_found("file", file_id)
    return row


async def _opened(chunks: AsyncIterator[bytes], file_id: str) -> AsyncIterator[bytes]:
    """The same chunks, with the first one read: what cannot be read is an error before a reply has begun."""
    try:
        first = await anext(chunks, b"")
    except KeyError:
        raise not_found("content of the file", file_id) from None

    async def all_chunks() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_chunks()


def _mime_type(body: Upload) -> str:
    """What the client says, unless it says nothing useful; then what the name says."""
    sent = (body.mime_type or "").partition(";")[0].strip().lower()
    if _MIME.fullmatch(sent) and sent != BINARY:
        return sent
    guessed: Any = mimetypes.guess_type(body.filename or "")[0]
    return guessed or BINARY
