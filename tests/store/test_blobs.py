"""What only the folder of blobs has: files that are whole, private and cleaned up after a crash."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path

import pytest

from roost.core.clock import SystemClock, timestamp
from roost.store import blobs as module
from roost.store.blobs import FolderBlobs, _thread
from tests.rig.clock import MovableClock


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
    blobs = FolderBlobs(tmp_path, SystemClock())
    blob = await blobs.put(stream(b"con", b"tent"), limit_bytes=100)
    assert content_and_mode(blobs.path(blob.sha256)) == (b"content", 0o600)
    assert files(tmp_path) == [hashlib.sha256(b"content").hexdigest()]


async def test_what_a_crash_left_half_written_is_thrown_away(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, SystemClock())
    await blobs.put(stream(b"whole"), limit_bytes=100)
    (tmp_path / "arriving" / "half").write_bytes(b"ha")
    FolderBlobs(tmp_path, SystemClock())
    assert files(tmp_path) == [hashlib.sha256(b"whole").hexdigest()]


async def test_an_upload_that_is_too_large_or_given_up_leaves_no_file(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, SystemClock())
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
    blobs = FolderBlobs(tmp_path, SystemClock())
    names = await asyncio.gather(*(blobs.put(stream(b"a", b"b"), limit_bytes=9) for _ in range(20)))
    assert len(set(names)) == len(files(tmp_path)) == 1


async def test_a_read_that_is_given_up_closes_its_file(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, SystemClock())
    blob = await blobs.put(stream(b"0123456789"), limit_bytes=100)
    reading = blobs.read(blob.sha256, chunk_bytes=3)
    assert await anext(reading) == b"012"
    assert blob.sha256 in open_files()
    await reading.aclose()  # type: ignore[attr-defined]
    assert blob.sha256 not in open_files()


async def test_storing_the_same_content_again_renews_its_time(tmp_path: Path) -> None:
    clock = MovableClock()
    blobs = FolderBlobs(tmp_path, clock)
    blob = await blobs.put(stream(b"content"), limit_bytes=100)
    clock.pass_by(60)
    between = timestamp(clock.now())
    assert [names async for names in blobs.older(than=between)] == [[blob.sha256]]
    clock.pass_by(60)
    await blobs.put(stream(b"con", b"tent"), limit_bytes=100)
    assert [names async for names in blobs.older(than=between)] == []
    assert not await blobs.delete(blob.sha256, older_than=between)
    assert await blobs.delete(blob.sha256, older_than=timestamp(clock.now()))


async def test_an_upload_that_takes_long_is_as_old_as_its_end(tmp_path: Path) -> None:
    clock = MovableClock()
    blobs = FolderBlobs(tmp_path, clock)

    async def slow() -> AsyncIterator[bytes]:
        yield b"content"
        clock.pass_by(7_200)

    blob = await blobs.put(slow(), limit_bytes=100)
    clock.pass_by(-60)
    assert not await blobs.delete(blob.sha256, older_than=timestamp(clock.now()))


async def test_content_stored_again_while_it_is_deleted_for_its_age_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file cannot come between the look at the old one's age and its deletion."""
    blobs = FolderBlobs(tmp_path, MovableClock())
    blob = await blobs.put(stream(b"content"), limit_bytes=100)
    loop, looked, renamed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    rename, unlink = Path.rename, Path.unlink

    def renames(path: Path, target: Path) -> None:
        rename(path, target)
        renamed.set()

    def unlinks(path: Path, missing_ok: bool = False) -> None:
        if path.name == blob.sha256:
            loop.call_soon_threadsafe(looked.set)
            assert not renamed.wait(0.2)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "rename", renames)
    monkeypatch.setattr(Path, "unlink", unlinks)
    deletion = asyncio.create_task(blobs.delete(blob.sha256, older_than="2999-01-01T00:00:00.000000Z"))
    async with asyncio.timeout(10):
        await looked.wait()
    await blobs.put(stream(b"content"), limit_bytes=100)
    assert await deletion
    assert files(tmp_path) == [blob.sha256]


async def test_a_long_list_comes_in_portions_and_holds_nothing_but_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    clock = MovableClock()
    blobs = FolderBlobs(tmp_path, clock)
    stored = [await blobs.put(stream(b"%d" % n), limit_bytes=100) for n in range(35)]
    (tmp_path / "arriving" / "half").write_bytes(b"ha")
    (tmp_path / stored[0].sha256[:2] / "notes.txt").write_bytes(b"not ours")
    clock.pass_by(1e9)
    portions = [names async for names in blobs.older(than=timestamp(clock.now()))]
    assert len(portions) > 1
    assert min(len(names) for names in portions[:-1]) >= 10
    assert sorted(chain(*portions)) == sorted(blob.sha256 for blob in stored)


async def test_however_often_it_is_cancelled_a_thread_is_waited_for() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(5)
        ended.set()

    task = asyncio.create_task(_thread(work))
    await asyncio.to_thread(begun.wait, 5)
    for _ in range(3):
        task.cancel()
        await asyncio.wait([task], timeout=0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
