"""Queued inputs: numbered as received, seen while they wait, given a place in the log once."""

from __future__ import annotations

import asyncio

from roost.store import statements
from roost.store.conformance.samples import SESSION, append, at, event, given, refused, session, write
from roost.store.protocols import Batch, Conflict, EventDraft, QueuedInput, Row, Statement, Store


async def enqueue(store: Store, *drafts: EventDraft, session_id: str = SESSION) -> list[Row]:
    return await write(store, statements.enqueue(session_id, drafts, now=at(0)))


def admission(inputs: list[QueuedInput], *, now: float) -> tuple[Statement, ...]:
    """What a brain writes when it takes up the inputs."""
    appended = statements.append(SESSION, [queued.draft() for queued in inputs], now=at(now))
    return appended + tuple(statements.input_admit(SESSION, queued.n, event_id=queued.id) for queued in inputs)


def message(id: str) -> EventDraft:
    return event(id, "user.message")


class TestInputs:
    async def test_inputs_are_numbered_as_received_and_wait_with_a_time_that_is_null(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        assert await enqueue(store, message("i1"), message("i2")) == [(1,), (2,)]
        assert await enqueue(store, message("i1"), session_id="sesn_2") == [(1,)]
        assert await enqueue(store, message("i3")) == [(3,)]
        first = QueuedInput(1, "i1", "user.message", message("i1").head + b"null}", None, "sthr_1")
        waiting = await store.log.inputs(SESSION)
        assert waiting[0] == first
        assert [queued.n for queued in waiting] == [1, 2, 3]
        assert [queued.n for queued in await store.log.inputs(SESSION, after=2)] == [3]
        assert await store.log.read(SESSION) == []

    async def test_the_newest_input_is_known(self, store: Store) -> None:
        await given(store, session())
        assert await store.log.last_input(SESSION) == 0
        await enqueue(store, message("i1"), message("i2"))
        await write(store, admission(await store.log.inputs(SESSION), now=1))
        assert await store.log.last_input(SESSION) == 2

    async def test_concurrent_senders_get_numbers_of_their_own(self, store: Store) -> None:
        await given(store, session())
        await asyncio.gather(*(enqueue(store, message(f"i{n}")) for n in range(50)))
        assert [queued.n for queued in await store.log.inputs(SESSION)] == list(range(1, 51))

    async def test_an_admitted_input_has_the_bytes_and_the_number_of_its_event_and_waits_no_more(
        self, store: Store
    ) -> None:
        await given(store, session())
        await append(store, event("e1"))
        await enqueue(store, message("i1"), message("i2"))
        await write(store, admission((await store.log.inputs(SESSION))[:1], now=7))
        (stored,) = await store.log.read(SESSION, after=1)
        assert (stored.seq, stored.id, stored.type, stored.ts) == (2, "i1", "user.message", at(7))
        assert stored.data == message("i1").head + f'"{at(7)}"}}'.encode()
        assert [queued.id for queued in await store.log.inputs(SESSION)] == ["i2"]
        everything = await store.log.inputs(SESSION, waiting=False)
        assert [(queued.id, queued.seq) for queued in everything] == [("i1", 2), ("i2", None)]

    async def test_an_input_is_admitted_once(self, store: Store) -> None:
        await given(store, session())
        await enqueue(store, message("i1"))
        admit = admission(await store.log.inputs(SESSION), now=1)
        await write(store, admit)
        await refused(Conflict, write(store, admit))
        await refused(Conflict, write(store, statements.input_admit(SESSION, 1, event_id="i1")))
        assert len(await store.log.read(SESSION)) == 1

    async def test_an_input_is_not_admitted_by_an_event_that_is_not_there_or_not_its_own(self, store: Store) -> None:
        await given(store, session())
        await append(store, event("e1"))
        await enqueue(store, message("i1"))
        for event_id in ("i1", "e1"):
            refusal = await refused(Conflict, write(store, statements.input_admit(SESSION, 1, event_id=event_id)))
            assert refusal.query == "input_admit"
        assert [queued.seq for queued in await store.log.inputs(SESSION)] == [None]

    async def test_an_input_for_a_session_that_does_not_exist_conflicts(self, store: Store) -> None:
        await refused(Conflict, enqueue(store, message("i1")))

    async def test_an_input_id_is_taken_once(self, store: Store) -> None:
        await given(store, session())
        await enqueue(store, message("i1"))
        await refused(Conflict, enqueue(store, message("i1")))

    async def test_a_waiting_answer_counts_and_a_second_one_conflicts_before_and_after_admission(
        self, store: Store
    ) -> None:
        await given(store, session())
        answer, second = (event(name, "user.tool_confirmation", answers="call_1") for name in ("i1", "i2"))
        await enqueue(store, answer)
        assert set(await store.log.answered(SESSION, ["call_1"])) == {("call_1", "user.tool_confirmation")}
        await refused(Conflict, enqueue(store, second))
        await write(store, admission(await store.log.inputs(SESSION), now=1))
        assert set(await store.log.answered(SESSION, ["call_1"])) == {("call_1", "user.tool_confirmation")}
        await refused(Conflict, enqueue(store, second))
        await refused(Conflict, append(store, second))

    async def test_a_private_part_joins_an_input_only_at_its_admission(self, store: Store) -> None:
        await given(store, session())
        await enqueue(store, message("i1"))
        (queued,) = await store.log.inputs(SESSION)
        await write(
            store,
            statements.append(SESSION, [queued.draft(private=b'{"flushed":true}')], now=at(1)),
            statements.input_admit(SESSION, queued.n, event_id=queued.id),
        )
        (stored,) = await store.log.read(SESSION, private=True)
        assert stored.private == b'{"flushed":true}'

    async def test_a_refused_admission_leaves_the_input_waiting(self, store: Store) -> None:
        await given(store, session())
        await enqueue(store, message("i1"))
        admit = admission(await store.log.inputs(SESSION), now=1)
        await refused(Conflict, store.commit(Batch((*admit, statements.session_open("missing")))))
        assert [queued.id for queued in await store.log.inputs(SESSION)] == ["i1"]
        assert await store.log.read(SESSION) == []
