"""Files in and out of a conversation: those that messages refer to, and those the agent leaves behind."""

from __future__ import annotations

import base64
import logging
import mimetypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import orjson

from roost.core.clock import Clock, timestamp
from roost.core.ids import new_id
from roost.harness.ports import Hands
from roost.sandbox.interface import OutputFile
from roost.store.protocols import ObjectQuery, ObjectRow, SessionRow, Statement, Store
from roost.store.statements import object_delete, object_insert
from roost.wire.files import FileMetadata, FileScope, allowed_name
from roost.wire.messages import Block

log = logging.getLogger(__name__)

OUTPUTS_MAX = 1_000
"""Files published of one session; further ones stay in the sandbox."""


async def with_file(store: Store, workspace_id: str, block: Block) -> Block:
    """A content block with its file put in: base64 for images and PDF, text for text.

    A file that is gone or empty becomes a text block that says so, since history must stay valid.
    """
    file_id = block["source"]["file_id"]
    row = await store.objects.get(workspace_id, "file", file_id)
    gone = {"type": "text", "text": f"[The file {file_id} is no longer available.]"}
    if row is None or row.private is None:
        return gone
    mime_type = orjson.loads(row.body)["mime_type"]
    try:
        data = b"".join([chunk async for chunk in store.blobs.read(orjson.loads(row.private)["sha256"])])
    except KeyError:
        return gone
    if not data:
        return {"type": "text", "text": f"[The file {file_id} is empty.]"}
    shown = {name: value for name, value in block.items() if value is not None}
    return {**shown, "source": _source(mime_type, data)}


def _source(mime_type: str, data: bytes) -> Mapping[str, Any]:
    if mime_type.startswith("image/") or mime_type == "application/pdf":
        return {"type": "base64", "media_type": mime_type, "data": base64.b64encode(data).decode()}
    return {"type": "text", "media_type": "text/plain", "data": data.decode("utf-8", "replace")}


class Outputs:
    """Publishes what the agent left in `/mnt/session/outputs` as files of the session.

    Bytes are stored before the statements are handed out, and the statements go into the batch of the idle event: what
    is listed at idle is complete. A file that changed replaces the one published before under the same path.
    """

    def __init__(self, store: Store, hands: Hands, clock: Clock, *, file_bytes_max: int) -> None:
        self._store = store
        self._hands = hands
        self._clock = clock
        self._file_bytes_max = file_bytes_max

    async def publish(self, session: SessionRow) -> tuple[Statement, ...]:
        found = await self._hands.outputs(session.id)
        if not found:
            return ()
        published = await self._published(session)
        statements: list[Statement] = []
        for output in self._fitting(session, found):
            before = published.get(_shown(output.path))
            if before is None or _stamp(before) != _stamp_of(output):
                statements += await self._replace(session, output, before)
        return tuple(statements)

    def _fitting(self, session: SessionRow, found: Sequence[OutputFile]) -> Sequence[OutputFile]:
        """Those that can be published; the log tells of the others, which are silent to the client."""
        fitting = [output for output in found if output.size_bytes <= self._file_bytes_max]
        if large := len(found) - len(fitting):
            log.warning("%s: %d outputs above %d bytes are not published", session.id, large, self._file_bytes_max)
        if (extra := len(fitting) - OUTPUTS_MAX) > 0:
            log.warning("%s: %d outputs beyond the first %d are not published", session.id, extra, OUTPUTS_MAX)
        return fitting[:OUTPUTS_MAX]

    async def _published(self, session: SessionRow) -> Mapping[str, ObjectRow]:
        query = ObjectQuery(session.workspace_id, "file", parent_id=session.id, limit=2 * OUTPUTS_MAX)
        rows = await self._store.objects.list(query)
        return {path: row for row in rows if (path := _private(row).get("path"))}

    async def _replace(self, session: SessionRow, output: OutputFile, before: ObjectRow | None) -> Sequence[Statement]:
        chunks = self._hands.read_output(session.id, output.path)
        try:
            blob = await self._store.blobs.put(chunks, limit_bytes=self._file_bytes_max)
        except FileNotFoundError:
            # A background process took the file away since it was listed.
            return ()
        except ValueError:
            log.warning("%s: an output grew above %d bytes; not published", session.id, self._file_bytes_max)
            return ()
        now = timestamp(self._clock.now())
        name = allowed_name(PurePosixPath(_shown(output.path)).name)
        metadata = FileMetadata(
            id=new_id("file"),
            filename=name,
            mime_type=mimetypes.guess_type(name)[0] or "application/octet-stream",
            size_bytes=blob.size_bytes,
            created_at=now,
            downloadable=True,
            scope=FileScope(id=session.id),
        )
        private = {"sha256": blob.sha256, "path": _shown(output.path), "stamp": _stamp_of(output)}
        row = ObjectRow(
            workspace_id=session.workspace_id,
            kind="file",
            id=metadata.id,
            parent_id=session.id,
            created_at=now,
            updated_at=now,
            body=metadata.encode(),
            private=orjson.dumps(private),
        )
        # The user may delete the earlier file at the same moment: then it is gone, which is all that is asked here.
        gone = [replace(object_delete(session.workspace_id, "file", before.id), rows=None)] if before else []
        return [*gone, object_insert(row)]


def _shown(path: str) -> str:
    """A path as text: what a file system allows need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")


def _private(row: ObjectRow) -> Mapping[str, Any]:
    private: Mapping[str, Any] = orjson.loads(row.private) if row.private else {}
    return private


def _stamp(row: ObjectRow) -> list[int]:
    return list(_private(row).get("stamp", ()))


def _stamp_of(output: OutputFile) -> list[int]:
    return [output.size_bytes, output.modified_ns]
