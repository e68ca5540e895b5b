"""The write seam: all of a batch or none of it, whatever its neighbours do; hints when it is durable, not before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from roost.store import statements
from roost.store.conformance.samples import SESSION, agent, append, at, claimed, event, given, refused, session, write
from roost.store.protocols import (
    WAKE_TOPIC,
    Batch,
    Conflict,
    Fence,
    Fenced,
    Statement,
    Store,
    StoredEvent,
    session_topic,
)

READERS = 8
EVENTS = 60


class TestCommit:
    async def test_what_each_statement_returned_comes_back_in_order(self, store: Store) -> None:
        await given(store, session())
        results = await store.commit(
            Batch(
                (
                    *statements.append(SESSION, [event("e1"), event("e2")], now=at(1)),
                    statements.session_open(SESSION),
                    *statements.enqueue(SESSION, [event("i1")], now=at(1)),
                )
            )
        )
        assert [len(rows) for rows in results] == [0, 1, 1, 1, 1]
        assert results[1:3] == [[(1, at(1))], [(2, at(1))]]
        assert results[4] == [(1,)]

    async def test_a_batch_that_conflicts_leaves_nothing_behind(self, store: Store) -> None:
        await given(store, session())
        batch = Batch(
            (
                *statements.append(SESSION, [event("e1")], now=at(1)),
                statements.object_insert(agent("agent_1")),
                statements.wake("missing", at=at(0)),
            )
        )
        refusal = await refused(Conflict, store.commit(batch))
        assert refusal.query == "session_wake"
        assert await store.log.read(SESSION) == []
        assert await store.objects.get("wrkspc_1", "agent", "agent_1") is None
        assert await store.sessions.load(SESSION) == session()

    async def test_one_of_many_waiting_batches_fails_alone(self, store: Store) -> None:
        await given(store, session())

        async def outcome(n: int) -> str:
            twice = [event(f"e{n}"), event(f"e{n}")] if n % 5 == 0 else [event(f"e{n}")]
            try:
                await append(store, *twice, now=n)
            except Conflict as refusal:
                return refusal.query
            return "written"

        outcomes = await asyncio.gather(*(outcome(n) for n in range(100)))
        assert outcomes == ["written" if n % 5 else "event_insert" for n in range(100)]
        log = await store.log.read(SESSION)
        assert [stored.seq for stored in log] == list(range(1, 81))
        assert {stored.id for stored in log} == {f"e{n}" for n in range(100) if n % 5}

    async def test_a_stale_epoch_is_refused_and_nothing_is_written(self, store: Store) -> None:
        await given(store, session())
        claim = await claimed(store)
        for epoch in (claim.epoch - 1, claim.epoch + 1):
            stale = Batch(statements.append(SESSION, [event("e1")], now=at(0)), Fence(SESSION, epoch))
            await refused(Fenced, store.commit(stale))
        await refused(Fenced, store.commit(Batch(fence=Fence("missing", 0))))
        assert await store.log.read(SESSION) == []
        await store.commit(Batch(statements.append(SESSION, [event("e1")], now=at(0)), Fence(SESSION, claim.epoch)))
        assert len(await store.log.read(SESSION)) == 1

    async def test_a_fence_raised_inside_a_group_holds_for_the_batches_behind_it(self, store: Store) -> None:
        await given(store, session())
        claim = await claimed(store)
        late = statements.fenced(claim, *statements.append(SESSION, [event("late")], now=at(0)))
        _, outcome = await asyncio.gather(
            write(store, statements.session_quiet(SESSION)), store.commit(late), return_exceptions=True
        )
        assert isinstance(outcome, Fenced)
        assert await store.log.read(SESSION) == []

    async def test_a_batch_nobody_can_write_is_refused_and_the_store_goes_on(self, store: Store) -> None:
        await given(store, session())
        nonsense = Batch((Statement("there_is_no_such_query", {}),))
        outcomes = await asyncio.gather(
            store.commit(nonsense), append(store, event("e1")), store.commit(nonsense), return_exceptions=True
        )
        assert isinstance(outcomes[0], Exception)
        assert isinstance(outcomes[2], Exception)
        assert outcomes[1] == [(1, at(0))]

    async def test_the_hints_of_a_batch_arrive_when_it_can_be_read(self, store: Store) -> None:
        await given(store, session())
        async with store.bus.subscribe(session_topic(SESSION)) as subscription:
            writing = asyncio.create_task(
                write(store, statements.append(SESSION, [event("e1")], now=at(0)), hints=statements.hints(SESSION))
            )
            assert await subscription.wait(10)
            assert len(await store.log.read(SESSION)) == 1
            await writing

    async def test_a_refused_batch_hints_at_nothing(self, store: Store) -> None:
        async with store.bus.subscribe(WAKE_TOPIC) as subscription:
            await refused(Conflict, write(store, statements.session_open("missing"), hints=(WAKE_TOPIC,)))
            assert not await subscription.wait(0)

    async def test_a_caller_that_goes_away_does_not_undo_or_stop_the_writing(self, store: Store) -> None:
        await given(store, session())

        async def hurried() -> None:
            async with asyncio.timeout(0):
                await append(store, event("e1"))

        await refused(TimeoutError, hurried())
        await append(store, event("e2"))
        assert [stored.id for stored in await store.log.read(SESSION)] == ["e1", "e2"]

    async def test_tails_see_every_event_once_and_in_order_while_hints_are_lost(self, store: Store) -> None:
        """The rule of engine.md section 2: subscribe, read, wait for a hint or a while, read again."""
        await given(store, session())
        topic = session_topic(SESSION)

        async def tail() -> Sequence[StoredEvent]:
            seen: list[StoredEvent] = []
            async with store.bus.subscribe(topic) as subscription:
                while len(seen) < EVENTS:
                    seen += await store.log.read(SESSION, after=seen[-1].seq if seen else 0, limit=7)
                    await subscription.wait(0.01)
            return seen

        async def source() -> None:
            for n in range(EVENTS):
                hints = () if n % 5 == 0 else (topic,)
                await write(store, statements.append(SESSION, [event(f"e{n}")], now=at(n)), hints=hints)

        tails = [asyncio.create_task(tail()) for _ in range(READERS)]
        await source()
        for seen in await asyncio.gather(*tails):
            assert [stored.id for stored in seen] == [f"e{n}" for n in range(EVENTS)]
