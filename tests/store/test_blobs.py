"""What only the folder of blobs has: files that are whole, private and cleaned up after a crash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.store.blobs import FolderBlobs


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def content_and_mode(path: str | None) -> tuple[bytes, int]:
    assert path
    return Path(path).read_bytes(), Path(path).stat().st_mode & 0o777


def open_files() -> set[str]:
    """The names of the files that this process holds open."""
    return {path.resolve().name for path in Path("/proc/self/fd").iterdir()}


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_the_path_of_a_blob_holds_its_bytes_for_the_owner_only(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    blob = await blobs.put(stream(b"con", b"tent"), limit_bytes=100)
    assert content_and_mode(blobs.path(blob.sha256)) == (b"content", 0o600)
    assert files(tmp_path) == [hashlib.sha256(b"content").hexdigest()]


async def test_what_a_crash_left_half_written_is_thrown_away(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    await blobs.put(stream(b"whole"), limit_bytes=100)
    (tmp_path / "arriving" / "half").write_bytes(b"ha")
    FolderBlobs(tmp_path)
    assert files(tmp_path) == [hashlib.sha256(b"whole").hexdigest()]


async def test_an_upload_that_is_too_large_or_given_up_leaves_no_file(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    with pytest.raises(ValueError, match="larger than 3 bytes"):
        await blobs.put(stream(b"1234"), limit_bytes=3)
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"begun"
        arrived.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(blobs.put(endless(), limit_bytes=100))
    async with asyncio.timeout(10):
        await arrived.wait()
    assert len(files(tmp_path)) == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert files(tmp_path) == []


async def test_uploads_of_the_same_content_at_the_same_time_leave_one_file(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    names = await asyncio.gather(*(blobs.put(stream(b"a", b"b"), limit_bytes=9) for _ in range(20)))
    assert len(set(names)) == len(files(tmp_path)) == 1


async def test_a_read_that_is_given_up_closes_its_file(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    blob = await blobs.put(stream(b"0123456789"), limit_bytes=100)
    reading = blobs.read(blob.sha256, chunk_bytes=3)
    assert await anext(reading) == b"012"
    assert blob.sha256 in open_files()
    await reading.aclose()  # type: ignore[attr-defined]
    assert blob.sha256 not in open_files()
