"""Content by its hash: stored whole or not at all, read in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable

from roost.store.conformance.samples import refused
from roost.store.protocols import Blob, Store

CONTENT = bytes(range(256)) * 1000
BEFORE_ALL, AFTER_ALL = "1971-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
"""Times that no clock shows which a store is tested with."""


async def stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def put(store: Store, content: bytes, *, limit_bytes: int = 1 << 30) -> Blob:
    return await store.blobs.put(
        stream(content[n : n + 10_000] for n in range(0, len(content), 10_000)), limit_bytes=limit_bytes
    )


async def read(store: Store, sha256: str, *, chunk_bytes: int = 1 << 16) -> list[bytes]:
    return [chunk async for chunk in store.blobs.read(sha256, chunk_bytes=chunk_bytes)]


async def is_there(store: Store, sha256: str) -> bool:
    try:
        await read(store, sha256)
    except KeyError:
        return False
    return True


class TestBlobs:
    async def test_content_comes_back_by_its_hash(self, store: Store) -> None:
        for content in (b"", b"x", CONTENT):
            blob = await put(store, content)
            assert blob == Blob(hashlib.sha256(content).hexdigest(), len(content))
            assert b"".join(await read(store, blob.sha256)) == content

    async def test_content_is_read_in_pieces_of_the_size_asked_for(self, store: Store) -> None:
        blob = await put(store, CONTENT)
        pieces = await read(store, blob.sha256, chunk_bytes=100_000)
        assert [len(piece) for piece in pieces] == [100_000, 100_000, 56_000]

    async def test_the_limit_itself_is_allowed_and_one_byte_more_stores_nothing(self, store: Store) -> None:
        assert (await put(store, b"12345", limit_bytes=5)).size_bytes == 5
        refusal = await refused(ValueError, put(store, b"123456", limit_bytes=5))
        assert "5 bytes" in str(refusal)
        assert not await is_there(store, hashlib.sha256(b"123456").hexdigest())

    async def test_a_stream_that_breaks_stores_nothing(self, store: Store) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionResetError

        await refused(ConnectionResetError, store.blobs.put(broken(), limit_bytes=100))
        assert not await is_there(store, hashlib.sha256(b"half").hexdigest())

    async def test_the_same_content_again_is_the_same_blob(self, store: Store) -> None:
        assert await put(store, CONTENT) == await put(store, CONTENT)
        assert b"".join(await read(store, hashlib.sha256(CONTENT).hexdigest())) == CONTENT

    async def test_deleted_content_is_gone_and_deleting_it_again_is_no_error(self, store: Store) -> None:
        blob = await put(store, b"content")
        assert await store.blobs.delete(blob.sha256, older_than=AFTER_ALL)
        assert not await store.blobs.delete(blob.sha256, older_than=AFTER_ALL)
        assert not await is_there(store, blob.sha256)

    async def test_content_that_is_not_old_enough_is_not_deleted(self, store: Store) -> None:
        blob = await put(store, b"content")
        assert not await store.blobs.delete(blob.sha256, older_than=BEFORE_ALL)
        assert await is_there(store, blob.sha256)

    async def test_content_is_listed_by_its_age(self, store: Store) -> None:
        names = {(await put(store, b"%d" % n)).sha256 for n in range(20)}
        listed = [name async for portion in store.blobs.older(than=AFTER_ALL) for name in portion]
        assert sorted(listed) == sorted(names)
        assert [portion async for portion in store.blobs.older(than=BEFORE_ALL)] == []

    async def test_only_a_hash_is_a_name(self, store: Store) -> None:
        for name in ("", "..", "../roost.db", "0" * 63, "0" * 64 + "\n", "A" * 64, "/etc/passwd"):
            assert not await is_there(store, name)
            await refused(KeyError, store.blobs.delete(name, older_than=AFTER_ALL))
