"""The log: dense numbers in commit order, times that never run backwards, the wire's exact bytes, one answer a call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson

from roost.store import statements
from roost.store.conformance.samples import SESSION, append, at, event, given, refused, session, write
from roost.store.protocols import Conflict, EventDraft, Store, StoredEvent


def seqs(events: Sequence[StoredEvent]) -> list[int]:
    return [stored.seq for stored in events]


async def filled(store: Store, count: int) -> None:
    """A log whose event n was written n seconds after noon, every third of them a tool's use."""
    await given(store, session())
    for n in range(1, count + 1):
        await append(store, event(f"e{n}", "agent.tool_use" if n % 3 == 0 else "agent.message"), now=n)


class TestLog:
    async def test_events_come_back_as_the_exact_bytes_of_the_wire(self, store: Store) -> None:
        await given(store, session())
        draft = event("e1")
        assert await append(store, draft, now=1) == [(1, at(1))]
        (stored,) = await store.log.read(SESSION)
        assert stored == StoredEvent(1, "e1", "agent.message", at(1), draft.head + f'"{at(1)}"}}'.encode())
        assert orjson.loads(stored.data)["processed_at"] == at(1)

    async def test_numbers_are_dense_and_follow_the_order_of_writing(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        assert await append(store, event("a"), event("b")) == [(1, at(0)), (2, at(0))]
        assert await append(store, event("a"), session_id="sesn_2") == [(1, at(0))]
        assert await append(store, event("c")) == [(3, at(0))]
        assert [stored.id for stored in await store.log.read(SESSION)] == ["a", "b", "c"]
        row = await store.sessions.load(SESSION)
        assert row
        assert (row.last_seq, row.last_ts) == (3, at(0))

    async def test_time_never_runs_backwards_under_a_clock_that_does(self, store: Store) -> None:
        await given(store, session())
        for n, clock in enumerate((5, 9, 2, 7, 11)):
            await append(store, event(f"e{n}"), now=clock)
        assert [stored.ts for stored in await store.log.read(SESSION)] == [at(t) for t in (5, 9, 9, 9, 11)]

    async def test_concurrent_appends_leave_no_gap_and_no_double(self, store: Store) -> None:
        await given(store, session())
        await asyncio.gather(*(append(store, event(f"e{n}a"), event(f"e{n}b"), now=n) for n in range(100)))
        log = await store.log.read(SESSION)
        assert seqs(log) == list(range(1, 201))
        assert [stored.id[:-1] + "b" for stored in log[::2]] == [stored.id for stored in log[1::2]]
        assert [stored.ts for stored in log] == sorted(stored.ts for stored in log)

    async def test_an_event_of_a_session_that_does_not_exist_conflicts(self, store: Store) -> None:
        await refused(Conflict, append(store, event("e1")))
        assert await store.log.read(SESSION) == []

    async def test_an_id_is_taken_once_in_a_session_and_the_refused_append_takes_no_number(self, store: Store) -> None:
        await given(store, session())
        await append(store, event("e1"))
        await refused(Conflict, append(store, event("e2"), event("e1")))
        assert await append(store, event("e3")) == [(2, at(0))]

    async def test_reads_cut_a_stretch_in_both_orders(self, store: Store) -> None:
        await filled(store, 9)
        log = store.log
        assert seqs(await log.read(SESSION)) == list(range(1, 10))
        assert seqs(await log.read(SESSION, descending=True)) == list(range(9, 0, -1))
        assert seqs(await log.read(SESSION, after=3, before=7)) == [4, 5, 6]
        assert seqs(await log.read(SESSION, after=3, limit=2)) == [4, 5]
        assert seqs(await log.read(SESSION, before=7, limit=2, descending=True)) == [6, 5]
        assert seqs(await log.read(SESSION, after=9)) == []
        assert await log.read("sesn_2") == []

    async def test_pages_in_both_orders_show_every_event_once(self, store: Store) -> None:
        await filled(store, 10)
        forward, backward, after, before = [], [], 0, 11
        while page := seqs(await store.log.read(SESSION, after=after, limit=3)):
            forward += page
            after = page[-1]
        while page := seqs(await store.log.read(SESSION, before=before, limit=3, descending=True)):
            backward += page
            before = page[-1]
        assert forward == backward[::-1] == list(range(1, 11))

    async def test_types_choose_events_in_both_orders(self, store: Store) -> None:
        await filled(store, 12)
        await append(store, event("end", "session.status_idle"), now=13)
        uses, both = ["agent.tool_use"], ["agent.tool_use", "session.status_idle"]
        assert seqs(await store.log.read(SESSION, types=uses)) == [3, 6, 9, 12]
        assert seqs(await store.log.read(SESSION, types=both, descending=True, limit=2)) == [13, 12]
        assert seqs(await store.log.read(SESSION, types=both, after=6, limit=2)) == [9, 12]
        assert seqs(await store.log.read(SESSION, types=uses, before=9)) == [3, 6]
        assert await store.log.read(SESSION, types=["user.message"]) == []

    async def test_bounds_of_time_hold_at_the_very_moment(self, store: Store) -> None:
        await filled(store, 9)
        cases: dict[str, list[int]] = {"gt": [6, 7, 8, 9], "gte": [5, 6, 7, 8, 9], "lt": [1, 2, 3, 4]}
        for operator, expected in (cases | {"lte": [1, 2, 3, 4, 5]}).items():
            assert seqs(await store.log.read(SESSION, bounds={operator: at(5)})) == expected
            assert seqs(await store.log.read(SESSION, bounds={operator: at(5)}, limit=99)) == expected

    async def test_bounds_between_and_beyond_the_events_find_what_lies_there(self, store: Store) -> None:
        await filled(store, 6)
        read = store.log.read
        assert seqs(await read(SESSION, bounds={"gt": at(2.5), "lt": at(4.5)})) == [3, 4]
        assert seqs(await read(SESSION, bounds={"gte": at(2), "lte": at(5)}, after=3, descending=True)) == [5, 4]
        assert seqs(await read(SESSION, bounds={"gte": at(3)}, types=["agent.tool_use"])) == [3, 6]
        assert await read(SESSION, bounds={"gt": at(6)}) == await read(SESSION, bounds={"lt": at(1)}) == []
        assert seqs(await read(SESSION, bounds={"gte": at(-9), "lte": at(99)})) == [1, 2, 3, 4, 5, 6]
        assert await read("sesn_2", bounds={"gte": at(0)}) == []

    async def test_bounds_take_all_events_of_one_moment(self, store: Store) -> None:
        await given(store, session())
        for now in (1, 2, 3):
            await append(store, *(event(f"e{now}_{n}") for n in range(3)), now=now)
        assert seqs(await store.log.read(SESSION, bounds={"gte": at(2), "lte": at(2)})) == [4, 5, 6]
        assert seqs(await store.log.read(SESSION, bounds={"gt": at(1), "lt": at(3)})) == [4, 5, 6]

    async def test_the_private_part_is_read_only_by_who_asks(self, store: Store) -> None:
        await given(store, session())
        await append(store, event("e1", private=b'{"signature":"s"}'), event("e2"))
        for limit in (None, 5):
            assert [stored.private for stored in await store.log.read(SESSION, limit=limit)] == [None, None]
            asked = await store.log.read(SESSION, limit=limit, private=True)
            assert [stored.private for stored in asked] == [b'{"signature":"s"}', None]
        assert (await store.log.read(SESSION, types=["agent.message"]))[0].private is None
        assert (await store.log.find(SESSION, ["e1"]))[0].private is None
        assert (await store.log.find(SESSION, ["e1"], private=True))[0].private == b'{"signature":"s"}'

    async def test_events_are_found_by_id_in_the_order_of_the_log(self, store: Store) -> None:
        await filled(store, 5)
        assert seqs(await store.log.find(SESSION, ["e4", "nobody", "e2"])) == [2, 4]
        assert await store.log.find("sesn_2", ["e4"]) == []

    async def test_a_call_has_one_answer_of_a_type(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        answer = event("r1", "agent.tool_result", answers="call_1")
        await append(store, answer)
        await append(store, answer, session_id="sesn_2")
        await append(store, event("c1", "user.tool_confirmation", answers="call_1"))
        second: EventDraft = event("r2", "agent.tool_result", answers="call_1")
        refusal = await refused(Conflict, append(store, second))
        assert refusal.query == "event_insert"
        assert set(await store.log.answered(SESSION, ["call_1", "call_2"])) == {
            ("call_1", "agent.tool_result"),
            ("call_1", "user.tool_confirmation"),
        }

    async def test_an_append_of_nothing_writes_nothing(self, store: Store) -> None:
        await given(store, session())
        await write(store, statements.append(SESSION, [], now=at(5)))
        assert await store.sessions.load(SESSION) == session()
