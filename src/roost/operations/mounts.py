"""Files that a session is given: where they appear, and the copies that belong to the session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from roost.core.ids import new_id
from roost.operations.resource import Context
from roost.store.protocols import ObjectRow, Statement
from roost.store.statements import object_insert
from roost.wire.errors import ApiError, invalid
from roost.wire.files import FileMetadata, FileScope
from roost.wire.resources import UPLOADS, FileResource, FileResourceParams

SEGMENT_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class Mount:
    """A file resource with the copy that stands behind it."""

    resource: FileResource
    sha256: str
    insert: Statement

    def kept(self) -> dict[str, object]:
        """The resource as the session's row keeps it: with the content's name, which never leaves the server."""
        return {**self.resource.model_dump(), "sha256": self.sha256}


async def mounts(ctx: Context, session_id: str, sent: Sequence[FileResourceParams], now: str) -> list[Mount]:
    """The files of a new session. Raises ApiError that names the entry at fault."""
    found = await ctx.store.objects.many(ctx.workspace_id, "file", list({one.file_id for one in sent}))
    rows = {row.id: row for row in found}
    made = [
        _mount(session_id, f"resources.{place}.", one, rows.get(one.file_id), now) for place, one in enumerate(sent)
    ]
    paths = [one.resource.mount_path for one in made]
    if (place := _clash(paths)) is not None:
        raise invalid(f"resources.{place}.mount_path: {paths[place]} is taken by another resource")
    return made


async def mount(ctx: Context, session_id: str, sent: FileResourceParams, taken: Sequence[str], now: str) -> Mount:
    """One more file, beside those at the paths that are taken. Raises ApiError that names the field at fault."""
    original = await ctx.store.objects.get(ctx.workspace_id, "file", sent.file_id)
    made = _mount(session_id, "", sent, original, now)
    if _clash([*taken, made.resource.mount_path]) is not None:
        raise invalid(f"mount_path: {made.resource.mount_path} is taken by another resource")
    return made


def mount_path(text: str | None, file_id: str) -> str:
    """The absolute path below `UPLOADS` (behaviour/01 section 1.5). Raises ValueError for one that leads elsewhere."""
    path = file_id if text is None else text
    segments = [segment for segment in path.removeprefix(f"{UPLOADS}/").split("/") if segment]
    if not segments or path.endswith("/"):
        raise ValueError("must name a file")
    if any(segment in (".", "..") for segment in segments):
        raise ValueError("must not hold '.' or '..'")
    if any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise ValueError("must not hold control characters")
    if any(len(segment.encode()) > SEGMENT_BYTES_MAX for segment in segments):
        raise ValueError(f"each part may have at most {SEGMENT_BYTES_MAX} bytes")
    return "/".join([UPLOADS, *segments])


def _mount(session_id: str, where: str, sent: FileResourceParams, original: ObjectRow | None, now: str) -> Mount:
    """`where` is what stands before a field's name in an error."""
    if original is None or original.private is None:
        raise ApiError(404, f"{where}file_id: there is no file with the id {sent.file_id!r}")
    metadata = FileMetadata.model_validate_json(original.body)
    if metadata.expires_at and metadata.expires_at <= now:
        raise ApiError(404, f"{where}file_id: the file {sent.file_id} has expired", code="file_expired")
    try:
        path = mount_path(sent.mount_path, sent.file_id)
    except ValueError as error:
        raise invalid(f"{where}mount_path: {error}") from None
    copy = metadata.model_copy(
        update={"id": new_id("file"), "created_at": now, "expires_at": None, "scope": FileScope(id=session_id)}
    )
    sha256 = orjson.loads(original.private)["sha256"]
    row = replace(
        original,
        id=copy.id,
        parent_id=session_id,
        created_at=now,
        updated_at=now,
        body=copy.encode(),
        private=orjson.dumps({"sha256": sha256, "path": None}),
    )
    resource = FileResource(id=new_id("sesrsc"), file_id=copy.id, mount_path=path, created_at=now, updated_at=now)
    return Mount(resource, sha256, object_insert(row))


def _clash(paths: Sequence[str]) -> int | None:
    """The first that takes another's place, or stands where another is a file and it needs a directory."""
    seen = set(paths)
    for place, path in enumerate(paths):
        parents = {path[:end] for end in range(len(UPLOADS) + 1, len(path)) if path[end] == "/"}
        if path in paths[:place] or parents & seen:
            return place
    return None
