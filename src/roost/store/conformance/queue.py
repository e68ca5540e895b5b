"""Leases: one owner at a time, each under a higher epoch, and no wake-up that is lost on the way."""

from __future__ import annotations

import asyncio

from roost.store import statements
from roost.store.conformance.samples import LONG, SESSION, append, at, claimed, event, given, refused, session, write
from roost.store.protocols import Claim, Fenced, SessionQuery, SessionRow, Store


async def claim(store: Store, *, owner: str = "one", limit: int = 10, now: float = 0) -> list[Claim]:
    return await store.queue.claim(owner, limit, now=at(now), lease_until=at(now + 30))


async def loaded(store: Store, id: str = SESSION) -> SessionRow:
    found = await store.sessions.load(id)
    assert found, f"there is no {id}"
    return found


async def wake(store: Store, id: str = SESSION, *, when: float = 0) -> None:
    await write(store, statements.wake(id, at=at(when)))


class TestQueue:
    async def test_a_session_is_claimed_when_its_time_has_come_and_not_before(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        await wake(store, when=10)
        assert await claim(store, now=9) == []
        assert await claim(store, now=10) == [Claim(SESSION, "wrkspc_1", 1, 1, at(40))]
        found = await loaded(store)
        assert (found.owner, found.lease_until, found.epoch, found.wake_at) == ("one", at(40), 1, None)

    async def test_the_longest_due_are_claimed_first_and_no_more_than_asked(self, store: Store) -> None:
        await given(store, *(session(f"sesn_{n}", wake_at=at(-n)) for n in range(5)))
        taken = await claim(store, limit=2)
        assert {one.session_id for one in taken} == {"sesn_4", "sesn_3"}

    async def test_nobody_claims_what_another_owns_and_every_claim_raises_the_epoch(self, store: Store) -> None:
        await given(store, session())
        first = await claimed(store, owner="one")
        await wake(store)
        assert await claim(store, owner="two") == []
        await write(store, statements.release(first, seen_wake_no=2, wake_at=at(0)))
        (second,) = await claim(store, owner="two")
        assert (first.epoch, second.epoch) == (1, 2)

    async def test_many_claimers_at_once_share_the_sessions_without_a_double(self, store: Store) -> None:
        await given(store, *(session(f"sesn_{n}", wake_at=at(0)) for n in range(40)))
        taken = await asyncio.gather(*(claim(store, owner=f"w{n}", limit=3) for n in range(20)))
        ids = [one.session_id for claims in taken for one in claims]
        assert len(ids) == 40
        assert len(set(ids)) == 40

    async def test_an_earlier_wake_moves_the_time_forward_and_a_later_one_does_not_move_it_back(
        self, store: Store
    ) -> None:
        await given(store, session())
        for when, expected in ((10, 10), (20, 10), (5, 5)):
            await wake(store, when=when)
            assert (await loaded(store)).wake_at == at(expected)
        assert (await loaded(store)).wake_no == 3

    async def test_the_next_wake_is_the_earliest_of_those_that_nobody_owns(self, store: Store) -> None:
        assert await store.queue.next_wake() is None
        await given(store, session(wake_at=at(5)), session("sesn_2", wake_at=at(3)))
        assert await store.queue.next_wake() == at(3)
        await claim(store, now=4)
        await wake(store, "sesn_2", when=4)
        assert await store.queue.next_wake() == at(5)

    async def test_a_release_gives_the_session_back_until_its_next_time(self, store: Store) -> None:
        await given(store, session())
        held = await claimed(store)
        assert await write(store, statements.release(held, seen_wake_no=1, wake_at=at(9))) == [(SESSION,)]
        found = await loaded(store)
        assert (found.owner, found.lease_until, found.wake_at) == (None, None, at(9))
        assert await claim(store, now=8) == []
        assert len(await claim(store, now=9)) == 1

    async def test_a_release_that_has_not_seen_the_last_wake_does_nothing(self, store: Store) -> None:
        await given(store, session())
        held = await claimed(store)
        await wake(store, when=1)
        assert await write(store, statements.release(held, seen_wake_no=held.wake_no, wake_at=None)) == []
        found = await loaded(store)
        assert (found.owner, found.wake_at) == ("one", at(1))
        assert await write(store, statements.release(held, seen_wake_no=2, wake_at=None)) == [(SESSION,)]

    async def test_in_whatever_order_a_wake_and_a_release_come_the_wake_is_not_lost(self, store: Store) -> None:
        await given(store, *(session(f"sesn_{n}", wake_at=at(0)) for n in range(30)))
        steps, wakes_first = [], set()
        for n, held in enumerate(await claim(store, limit=30)):
            pair = [write(store, statements.release(held, seen_wake_no=0, wake_at=None)), wake(store, held.session_id)]
            if n % 2:
                wakes_first.add(held.session_id)
            steps += pair[::-1] if n % 2 else pair
        await asyncio.gather(*steps)
        for row in await store.sessions.list(SessionQuery("wrkspc_1", limit=30)):
            assert row.wake_at == at(0)
            assert row.owner == ("one" if row.id in wakes_first else None)

    async def test_a_release_under_an_old_epoch_does_nothing(self, store: Store) -> None:
        await given(store, session())
        old = await claimed(store)
        await store.queue.reap(now=at(LONG), alive=[])
        await claim(store, owner="two", now=LONG)
        assert await write(store, statements.release(old, seen_wake_no=1, wake_at=None)) == []
        assert (await loaded(store)).owner == "two"

    async def test_a_renewal_extends_what_is_still_ours_and_names_what_is_not(self, store: Store) -> None:
        await given(store, *(session(f"sesn_{n}", wake_at=at(0)) for n in range(3)))
        held = {one.session_id: one for one in await claim(store)}
        await write(store, statements.session_quiet("sesn_1"))
        await write(store, statements.release(held["sesn_2"], seen_wake_no=0, wake_at=at(0)))
        (again,) = [one for one in await claim(store) if one.session_id == "sesn_2"]
        assert await store.queue.renew("one", list(held.values()), lease_until=at(60)) == {"sesn_1", "sesn_2"}
        assert (await loaded(store, "sesn_0")).lease_until == at(60)
        assert (await loaded(store, "sesn_2")).lease_until == again.lease_until
        assert await store.queue.renew("two", [held["sesn_0"]], lease_until=at(90)) == {"sesn_0"}
        assert await store.queue.renew("one", [], lease_until=at(90)) == set()

    async def test_a_lease_that_ran_out_is_dropped_and_the_session_is_due_at_once(self, store: Store) -> None:
        await given(store, session())
        await claimed(store)
        assert await store.queue.reap(now=at(29), alive=["one"]) == 0
        assert await store.queue.reap(now=at(30), alive=["one"]) == 1
        assert [one.epoch for one in await claim(store, owner="two", now=30)] == [2]

    async def test_the_lease_of_an_owner_that_is_not_alive_is_dropped_at_once(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        await claimed(store, owner="one")
        await claimed(store, owner="two", session_id="sesn_2")
        assert await store.queue.reap(now=at(1), alive=["two"]) == 1
        assert [one.session_id for one in await claim(store, owner="two", now=1)] == [SESSION]

    async def test_a_reaped_session_that_was_due_earlier_stays_so(self, store: Store) -> None:
        await given(store, session())
        await claimed(store)
        await wake(store, when=-5)
        await store.queue.reap(now=at(LONG), alive=[])
        assert (await loaded(store)).wake_at == at(-5)

    async def test_an_owner_that_was_replaced_can_write_nothing(self, store: Store) -> None:
        await given(store, session())
        zombie = await claimed(store)
        await store.queue.reap(now=at(LONG), alive=[])
        (heir,) = await claim(store, owner="two", now=LONG)
        late = statements.append(SESSION, [event("late")], now=at(0))
        await refused(Fenced, store.commit(statements.fenced(zombie, *late)))
        assert await store.log.read(SESSION) == []
        await store.commit(statements.fenced(heir, *statements.append(SESSION, [event("heir")], now=at(0))))
        assert [stored.id for stored in await store.log.read(SESSION)] == ["heir"]

    async def test_owners_are_listed_with_their_leases(self, store: Store) -> None:
        await given(store, session(), session("sesn_2", workspace_id="wrkspc_2"), session("sesn_3"))
        await claimed(store, owner="one")
        await claimed(store, owner="two", session_id="sesn_2")
        assert await store.queue.owners(None) == [(SESSION, "one", at(30)), ("sesn_2", "two", at(30))]
        assert await store.queue.owners("wrkspc_2") == [("sesn_2", "two", at(30))]

    async def test_the_api_may_write_without_owning(self, store: Store) -> None:
        await given(store, session())
        await claimed(store)
        assert await append(store, event("e1")) == [(1, at(0))]
