"""What the sweeper removes, and above all what it leaves: on a real store, with files made by the API's operations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from roost.engine import sweeper as module
from roost.engine.sweeper import GRACE, RECORD_KEPT, Sweeper
from roost.harness.files import Outputs
from roost.harness.ports import Hands
from roost.operations import agents, environments, files, sessions
from roost.operations.polling import Polling
from roost.operations.resource import Context, Outcome, Upload, Write
from roost.sandbox.interface import OutputFile
from roost.store.protocols import Batch
from roost.store.sqlite import SqliteStore
from roost.wire.agents import AgentCreate
from roost.wire.environments import EnvironmentCreate
from roost.wire.errors import ApiError
from roost.wire.sessions import SessionCreate
from tests.contract.models import KNOWN, Models
from tests.rig.clock import MovableClock
from tests.rig.waiting import until

HOUR_S = 3_600


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def opened(folder: Path, clock: MovableClock) -> Context:
    return Context(await SqliteStore.open(folder, clock), clock, Models(), "wrkspc_1", Polling(clock))


@dataclass
class House:
    """A store with a sweeper, and what a client or a brain does to the store."""

    ctx: Context
    clock: MovableClock
    sweeper: Sweeper

    def passes(self, time: timedelta) -> None:
        self.clock.pass_by(time.total_seconds())

    async def swept_later(self) -> None:
        """A look when the grace has passed for all that there is."""
        self.passes(GRACE + timedelta(seconds=1))
        await self.sweeper.sweep()

    async def done(self, outcome: Outcome) -> Any:
        """Commits what an operation wants written; returns its reply."""
        assert isinstance(outcome, Write)
        await self.ctx.store.commit(outcome.batch)
        return orjson.loads(outcome.reply.body)

    async def arrives(self, content: bytes, name: str = "a.txt", **fields: str) -> Upload:
        """The bytes of an upload are stored; its record is not written yet."""
        blob = await self.ctx.store.blobs.put(stream(content), limit_bytes=1 << 20)
        return Upload(blob.sha256, blob.size_bytes, name, None, fields)

    async def uploads(self, content: bytes, **fields: str) -> str:
        reply = await self.done(await files.upload(self.ctx, body=await self.arrives(content, **fields)))
        return cast(str, reply["id"])

    async def deletes(self, file_id: str) -> None:
        await self.done(await files.delete(self.ctx, file_id=file_id))

    async def has_session(self, *mounted: str) -> Any:
        agent = await self.done(await agents.create(self.ctx, body=AgentCreate(name="Writer", model=KNOWN)))
        environment = await self.done(await environments.create(self.ctx, body=EnvironmentCreate(name="Cloud")))
        resources = [{"type": "file", "file_id": file_id} for file_id in mounted]
        sent = {"agent": agent["id"], "environment_id": environment["id"], "resources": resources}
        return await self.done(await sessions.create(self.ctx, body=SessionCreate.model_validate(sent)))

    async def contents(self) -> set[bytes]:
        """All content that the store holds."""
        self.passes(timedelta(milliseconds=1))
        blobs = self.ctx.store.blobs
        names = [name async for portion in blobs.older(than=self.ctx.now()) for name in portion]
        return {b"".join([chunk async for chunk in blobs.read(name)]) for name in names}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = MovableClock()
    ctx = await opened(tmp_path / "data", clock)
    yield House(ctx, clock, Sweeper(ctx.store, clock))
    await ctx.store.close()


async def test_a_deleted_files_bytes_go_after_the_grace(house: House) -> None:
    await house.deletes(await house.uploads(b"secret"))
    house.passes(GRACE - timedelta(minutes=1))
    await house.sweeper.sweep()
    assert await house.contents() == {b"secret"}
    house.passes(timedelta(minutes=1))
    await house.sweeper.sweep()
    assert await house.contents() == set()


async def test_shared_content_stays_while_one_file_refers_to_it(house: House) -> None:
    one, other = await house.uploads(b"shared"), await house.uploads(b"shared")
    await house.deletes(one)
    await house.swept_later()
    assert await house.contents() == {b"shared"}
    await house.deletes(other)
    await house.swept_later()
    assert await house.contents() == set()


async def test_an_upload_whose_record_is_not_written_yet_is_not_swept(house: House) -> None:
    arrived = await house.arrives(b"fresh")
    await house.sweeper.sweep()
    await house.done(await files.upload(house.ctx, body=arrived))
    await house.swept_later()
    assert await house.contents() == {b"fresh"}


async def test_a_refused_uploads_bytes_go_after_the_grace(house: House) -> None:
    with pytest.raises(ApiError, match="filename"):
        await files.upload(house.ctx, body=await house.arrives(b"refused", name="a<b"))
    await house.swept_later()
    assert await house.contents() == set()


async def test_content_uploaded_again_right_before_its_deletion_stays(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.deletes(await house.uploads(b"again"))
    in_use = house.ctx.store.objects.content_in_use

    async def asked_before_it_arrives(names: Sequence[str], *, expired_by: str) -> set[str]:
        answer = await in_use(names, expired_by=expired_by)
        assert (names, answer) == ([(await house.arrives(b"again")).sha256], set())
        return answer

    monkeypatch.setattr(house.ctx.store.objects, "content_in_use", asked_before_it_arrives)
    await house.swept_later()
    assert await house.contents() == {b"again"}


async def test_a_mount_keeps_its_bytes_when_the_files_are_deleted_until_its_session_is(house: House) -> None:
    original = await house.uploads(b"mounted")
    session = await house.has_session(original)
    await house.deletes(original)
    await house.swept_later()
    assert await house.contents() == {b"mounted"}
    await house.deletes(session["resources"][0]["file_id"])
    await house.swept_later()
    assert await house.contents() == {b"mounted"}
    await house.done(await sessions.delete(house.ctx, session_id=session["id"]))
    await house.swept_later()
    assert await house.contents() == set()


async def test_what_a_session_published_goes_with_the_session(house: House) -> None:
    class Left:
        """Hands that left one file."""

        async def outputs(self, session_id: str) -> Sequence[OutputFile]:
            return [OutputFile("report.txt", 6, 1)]

        def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
            return stream(b"report")

    session_id = (await house.has_session())["id"]
    row = await house.ctx.store.sessions.load(session_id)
    assert row is not None
    outputs = Outputs(house.ctx.store, cast(Hands, Left()), house.clock, file_bytes_max=100)
    await house.ctx.store.commit(Batch(await outputs.publish(row)))
    await house.swept_later()
    assert await house.contents() == {b"report"}
    await house.done(await sessions.delete(house.ctx, session_id=session_id))
    await house.swept_later()
    assert await house.contents() == set()


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_expired_content_goes_and_its_metadata_thirty_days_later(house: House) -> None:
    file_id = await house.uploads(b"for an hour", expires_in_seconds=str(HOUR_S))
    await house.swept_later()
    assert await house.contents() == {b"for an hour"}
    house.passes(GRACE)
    await house.sweeper.sweep()
    assert await house.contents() == set()
    await files.retrieve(house.ctx, file_id=file_id)
    house.passes(RECORD_KEPT - 2 * GRACE)
    await house.sweeper.sweep()
    await files.retrieve(house.ctx, file_id=file_id)
    await house.swept_later()
    with pytest.raises(ApiError, match="file_"):
        await files.retrieve(house.ctx, file_id=file_id)


async def test_expired_content_stays_for_another_file_and_for_a_session_that_mounts_it(house: House) -> None:
    for content in (b"filed", b"mounted"):
        file_id = await house.uploads(content, expires_in_seconds=str(HOUR_S))
    await house.uploads(b"filed")
    await house.has_session(file_id)
    house.passes(2 * RECORD_KEPT)
    await house.sweeper.sweep()
    assert await house.contents() == {b"filed", b"mounted"}


async def test_any_number_of_files_past_their_time_goes_in_one_look(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECORDS_AT_ONCE", 2)
    gone = [await house.uploads(b"%d" % n, expires_in_seconds=str(HOUR_S)) for n in range(5)]
    kept = [await house.uploads(b"kept", expires_in_seconds=str(90 * 24 * HOUR_S)), await house.uploads(b"for ever")]
    house.passes(RECORD_KEPT + timedelta(hours=2))
    await house.sweeper.sweep()
    left = await house.ctx.store.objects.many("wrkspc_1", "file", [*gone, *kept])
    assert [row.id for row in left] == kept
    assert await house.contents() == {b"kept", b"for ever"}


# --- what ends a look, or the server ---------------------------------------------------------------------------------


async def test_a_look_that_ends_in_the_middle_harms_nothing_and_the_next_one_does_the_rest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(6):
        await house.deletes(await house.uploads(b"%d" % n))
    await house.uploads(b"kept")
    delete, calls = house.ctx.store.blobs.delete, 0

    async def breaking(sha256: str, *, older_than: str) -> bool:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise OSError("the disk is gone")
        return await delete(sha256, older_than=older_than)

    monkeypatch.setattr(house.ctx.store.blobs, "delete", breaking)
    with pytest.raises(OSError, match="disk is gone"):
        await house.swept_later()
    assert len(await house.contents()) == 4
    await house.sweeper.sweep()
    assert await house.contents() == {b"kept"}


async def test_bytes_of_an_upload_that_died_with_its_server_are_swept_by_the_next_one(tmp_path: Path) -> None:
    clock = MovableClock()
    for life in range(2):
        ctx = await opened(tmp_path, clock)
        house = House(ctx, clock, Sweeper(ctx.store, clock))
        if life == 0:
            await house.arrives(b"without a record")
            await house.uploads(b"with one")
        else:
            await house.swept_later()
            assert await house.contents() == {b"with one"}
        await ctx.store.close()


async def test_it_looks_at_start_and_again_after_a_look_that_failed(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.deletes(await house.uploads(b"secret"))
    house.passes(2 * GRACE)
    expired, calls = house.ctx.store.objects.expired, 0

    async def failing_once(*, by: str, limit: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("not now")
        return await expired(by=by, limit=limit)

    monkeypatch.setattr(house.ctx.store.objects, "expired", failing_once)
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    with caplog.at_level(logging.INFO, logger=module.__name__):
        await house.sweeper.start()
        await until(lambda: len(caplog.records) == 2, "what two looks had to say")
        await house.sweeper.stop()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert await house.contents() == set()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_stopping_one_that_never_started_is_no_error(house: House) -> None:
    await house.sweeper.stop()
