"""Content in a folder, each piece in a file that is named after its SHA-256."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from roost.core.clock import Clock, parse_timestamp
from roost.store.folder import FILE_MODE, make_folder, sync_folder
from roost.store.protocols import Blob, StoreFull

P = ParamSpec("P")
T = TypeVar("T")

_NAME = re.compile(r"[0-9a-f]{64}")
PORTION = 10_000
"""Names that are enough for a portion of a list: who asks what they are for reads all sessions once a portion."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class FolderBlobs:
    """`roost.store.protocols.Blobs`. Making one throws away what a crash left half-written, so a folder has one owner.

    Two uploads of the same content share a file, whose time of modification is that of the last one by `clock`.
    Whoever deletes must know that nothing refers to it any more.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._names = threading.Lock()
        """Held to give a file its name, and to take it away on account of its age."""
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
                await _thread(self._keep, file, arriving, self._file(blob.sha256))
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

    async def older(self, *, than: str) -> AsyncIterator[Sequence[str]]:
        names: list[str] = []
        for folder in await _thread(lambda: sorted(self._folder.glob("[0-9a-f][0-9a-f]"))):
            names += await _thread(_older, folder, _seconds(than))
            if len(names) >= PORTION:
                yield names
                names = []
        if names:
            yield names

    async def delete(self, sha256: str, *, older_than: str) -> bool:
        return await _thread(self._remove, self._file(sha256), _seconds(older_than))

    def _keep(self, file: int, arriving: Path, final: Path) -> None:
        """Durable first, then visible: a name never stands for less than its whole content."""
        now = self._clock.now().timestamp()
        os.utime(file, (now, now))
        os.fsync(file)
        make_folder(final.parent)
        with self._names:
            arriving.rename(final)
        sync_folder(final.parent)

    def _remove(self, path: Path, before: float) -> bool:
        with self._names, contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
                return True
        return False

    def _file(self, sha256: str) -> Path:
        """Only a name that `put` can give is a name: nothing else reaches the file system."""
        if not _NAME.fullmatch(sha256):
            raise KeyError(sha256)
        return self._folder / sha256[:2] / sha256


async def _thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs a function off the event loop, and waits for its end however often it is cancelled meanwhile.

    Otherwise a file could be closed, and its descriptor given to somebody else, under a thread that still uses it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        work.exception()  # Looked at, so that nobody reports it as forgotten: the caller is gone.
        raise cancelled
    return work.result()


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)


def _append(file: int, digest: Digest, chunk: bytes) -> None:
    digest.update(chunk)
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _older(folder: Path, before: float) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.stat().st_mtime < before]


def _seconds(moment: str) -> float:
    """A timestamp as the file system has it."""
    return parse_timestamp(moment).timestamp()
