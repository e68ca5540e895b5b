"""Content in a folder, each piece in a file that is named after its SHA-256."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from roost.store.folder import FILE_MODE, make_folder, sync_folder
from roost.store.protocols import Blob, StoreFull

P = ParamSpec("P")
T = TypeVar("T")

_NAME = re.compile(r"[0-9a-f]{64}")
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class FolderBlobs:
    """`roost.store.protocols.Blobs`. Making one throws away what a crash left half-written, so a folder has one owner.

    Two uploads of the same content share a file. Whoever deletes must know that nothing refers to it any more.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arriving = folder / "arriving"
        make_folder(folder)
        make_folder(self._arriving)
        for left_over in self._arriving.iterdir():
            left_over.unlink()

    async def put(self, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> Blob:
        arriving = self._arriving / secrets.token_hex(16)
        digest, size_bytes = hashlib.sha256(), 0
        try:
            file = await _thread(_create, arriving)
            try:
                async for chunk in chunks:
                    size_bytes += len(chunk)
                    if size_bytes > limit_bytes:
                        raise ValueError(f"larger than {limit_bytes} bytes")
                    await _thread(_append, file, digest, chunk)
                blob = Blob(digest.hexdigest(), size_bytes)
                await _thread(_keep, file, arriving, self._file(blob.sha256))
            finally:
                os.close(file)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull("the disk is full") from error
            raise
        finally:
            await _thread(arriving.unlink, missing_ok=True)
        return blob

    async def read(self, sha256: str, *, chunk_bytes: int = 1 << 16) -> AsyncIterator[bytes]:
        try:
            file = await _thread(self._file(sha256).open, "rb", buffering=0)
        except FileNotFoundError:
            raise KeyError(sha256) from None
        with file:
            while chunk := await _thread(file.read, chunk_bytes):
                yield chunk

    def path(self, sha256: str) -> str | None:
        return str(self._file(sha256))

    async def delete(self, sha256: str) -> None:
        await _thread(self._file(sha256).unlink, missing_ok=True)

    def _file(self, sha256: str) -> Path:
        """Only a name that `put` can give is a name: nothing else reaches the file system."""
        if not _NAME.fullmatch(sha256):
            raise KeyError(sha256)
        return self._folder / sha256[:2] / sha256


async def _thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function off the event loop, and waits for its end even when cancelled.

    Otherwise a file could be closed, and its descriptor given to somebody else, under a thread that still uses it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)


def _append(file: int, digest: Digest, chunk: bytes) -> None:
    digest.update(chunk)
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _keep(file: int, arriving: Path, final: Path) -> None:
    """Durable first, then visible: a name never stands for less than its whole content."""
    os.fsync(file)
    make_folder(final.parent)
    arriving.rename(final)
    sync_folder(final.parent)
