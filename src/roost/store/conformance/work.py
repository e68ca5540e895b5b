"""Work items: queued once for a session, handed out to one poller, taken back when its lease has lapsed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from roost.store import statements
from roost.store.conformance.samples import SESSION, at, given, refused, session, write
from roost.store.protocols import Conflict, Position, Statement, Store
from roost.store.work import WorkRow, WorkStats

ENVIRONMENT = "env_1"


def claim(token: str = "token", *, now: float = 10, polled_before: float = 5) -> Statement:
    return statements.work_claim(ENVIRONMENT, now=at(now), polled_before=at(polled_before), token_hash=token)


async def queued(store: Store, number: int = 1, *, created: float = 0) -> None:
    """A session and its item."""
    session_id = f"sesn_{number}"
    await given(store, session(session_id))
    await write(store, statements.work_ensure(f"work_{number}", session_id, now=at(created)))


async def held(store: Store, *, lease_until: float = 100) -> WorkRow:
    """The item of a new session in the hands of a worker."""
    await queued(store)
    (row,) = await write(store, claim())
    taken = replace(WorkRow(*row), state="active", latest_heartbeat_at=at(20), lease_until=at(lease_until))
    await write(store, statements.work_update(taken))
    return replace(taken, revision=taken.revision + 1)


class TestWork:
    async def test_a_session_has_one_item_that_is_not_stopped(self, store: Store) -> None:
        await queued(store)
        await write(store, statements.work_ensure("work_2", SESSION, now=at(1)))
        assert [row.id for row in await store.work.list(ENVIRONMENT, limit=9, after=None)] == ["work_1"]
        await write(store, statements.work_end(SESSION, now=at(2)))
        await write(store, statements.work_ensure("work_2", SESSION, now=at(3)))
        rows = await store.work.list(ENVIRONMENT, limit=9, after=None)
        assert [(row.id, row.state) for row in rows] == [("work_2", "queued"), ("work_1", "stopped")]
        assert await store.work.list(ENVIRONMENT, limit=9, after=Position(at(3), "work_2")) == rows[1:]

    async def test_pollers_at_the_same_moment_get_different_items_oldest_first(self, store: Store) -> None:
        for number in range(5):
            await queued(store, number, created=number)
        polls = await asyncio.gather(*(write(store, claim(f"token_{poller}")) for poller in range(8)))
        got = sorted(WorkRow(*rows[0]).id for rows in polls if rows)
        assert got == [f"work_{number}" for number in range(5)]

    async def test_an_item_is_found_by_the_token_of_its_last_poll_only(self, store: Store) -> None:
        await queued(store)
        await write(store, claim("first"))
        assert await write(store, claim("early")) == []
        assert not await store.work.available(ENVIRONMENT, now=at(11), polled_before=at(9))
        assert await store.work.available(ENVIRONMENT, now=at(11), polled_before=at(10))
        await write(store, claim("second", now=20, polled_before=10))
        assert await store.work.by_token("first") is None
        found = await store.work.by_token("second")
        assert found is not None
        assert (found.id, found.polled_at) == ("work_1", at(20))

    async def test_a_held_item_is_handed_out_again_when_its_lease_has_lapsed(self, store: Store) -> None:
        await held(store, lease_until=100)
        assert await write(store, claim("early", now=99, polled_before=99)) == []
        (row,) = await write(store, claim("late", now=100, polled_before=100))
        again = WorkRow(*row)
        assert (again.state, again.latest_heartbeat_at, again.lease_until) == ("queued", None, None)

    async def test_a_change_is_made_to_what_was_read(self, store: Store) -> None:
        row = await held(store)
        await write(store, statements.work_update(replace(row, metadata=b'{"a":"1"}')))
        await refused(Conflict, write(store, statements.work_update(replace(row, state="stopped"))))
        kept = await store.work.get(ENVIRONMENT, row.id)
        assert kept is not None
        assert (kept.state, kept.metadata) == ("active", b'{"a":"1"}')

    async def test_an_item_is_not_there_for_another_environment(self, store: Store) -> None:
        await queued(store)
        assert await store.work.get("env_2", "work_1") is None
        assert await store.work.list("env_2", limit=9, after=None) == []
        assert not await store.work.available("env_2", now=at(10), polled_before=at(10))

    async def test_what_was_to_stop_ends_with_the_lease_of_a_worker_that_is_gone(self, store: Store) -> None:
        row = await held(store, lease_until=100)
        await write(store, statements.work_end(SESSION, now=at(30)))
        await write(store, statements.work_lapse(ENVIRONMENT, now=at(99)))
        stopping = await store.work.get(ENVIRONMENT, row.id)
        await write(store, statements.work_lapse(ENVIRONMENT, now=at(100)))
        stopped = await store.work.get(ENVIRONMENT, row.id)
        assert stopping is not None
        assert stopped is not None
        assert (stopping.state, stopping.stop_requested_at) == ("stopping", at(30))
        assert (stopped.state, stopped.stopped_at, stopped.token_hash) == ("stopped", at(100), None)

    async def test_statistics_tell_waiting_items_from_those_only_polled(self, store: Store) -> None:
        assert await store.work.stats(ENVIRONMENT) == WorkStats(0, 0, None)
        for number in range(3):
            await queued(store, number, created=number)
        await write(store, claim())
        assert await store.work.stats(ENVIRONMENT) == WorkStats(2, 1, at(0))

    async def test_work_for_a_busy_session_is_not_queued_for_a_quiet_one(self, store: Store) -> None:
        await given(store, session())
        ensure = statements.work_ensure("work_1", SESSION, now=at(0), only_busy=True)
        await write(store, ensure)
        assert await store.work.get(ENVIRONMENT, "work_1") is None
        await write(store, statements.wake(SESSION, at=at(0)), ensure)
        assert await store.work.get(ENVIRONMENT, "work_1") is not None

    async def test_the_items_of_a_session_go_with_it(self, store: Store) -> None:
        await queued(store)
        await write(store, statements.work_delete_session(SESSION))
        assert await store.work.get(ENVIRONMENT, "work_1") is None
