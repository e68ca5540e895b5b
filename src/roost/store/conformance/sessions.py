"""Session rows: lists and filters, and the statements that hold a batch to a state of the session."""

from __future__ import annotations

from dataclasses import replace

from roost.store import statements
from roost.store.conformance.samples import (
    SESSION,
    WORKSPACE,
    append,
    at,
    claimed,
    event,
    given,
    refused,
    session,
    write,
)
from roost.store.protocols import Batch, Conflict, Fence, Fenced, Position, SessionQuery, SessionRow, Status, Store

ALL = SessionQuery(WORKSPACE, descending=False)


async def loaded(store: Store, id: str = SESSION) -> SessionRow:
    row = await store.sessions.load(id)
    assert row, f"there is no {id}"
    return row


async def ids(store: Store, query: SessionQuery) -> list[str]:
    return [row.id for row in await store.sessions.list(query)]


class TestSessions:
    async def test_a_session_comes_back_as_it_was_written(self, store: Store) -> None:
        row = session(
            running_since=at(1),
            deployment_id="depl_1",
            wake_at=at(2),
            wake_no=3,
            config_rev=4,
            body='{"title":"é"}'.encode(),
            usage=b'{"input_tokens":1}',
        )
        await given(store, row)
        assert await store.sessions.load(SESSION) == row
        assert await store.sessions.get(WORKSPACE, SESSION) == row
        assert await store.sessions.get("wrkspc_2", SESSION) is None
        assert await store.sessions.load("sesn_2") is None

    async def test_every_session_is_named_to_the_reaper(self, store: Store) -> None:
        await given(store, session("sesn_1"), session("sesn_2", workspace_id="wrkspc_2", archived_at=at(1)))
        assert await store.sessions.ids() == {"sesn_1", "sesn_2"}

    async def test_pages_show_every_session_once_in_both_orders(self, store: Store) -> None:
        rows = [session(f"sesn_{n}", created=n // 3) for n in range(7)]
        await given(store, *rows, session("sesn_x", workspace_id="wrkspc_2"))
        for descending, order in ((False, rows), (True, rows[::-1])):
            seen: list[SessionRow] = []
            query = replace(ALL, limit=2, descending=descending)
            while page := await store.sessions.list(query):
                seen += page
                query = replace(query, after=Position(page[-1].created_at, page[-1].id))
            assert seen == order

    async def test_each_filter_narrows_the_list(self, store: Store) -> None:
        await given(
            store,
            session("sesn_1", created=1),
            session("sesn_2", created=2, agent_id="agent_2", status="running"),
            session("sesn_3", created=3, agent_version=2, deployment_id="depl_1", status="rescheduling"),
            session("sesn_4", created=4, archived_at=at(5), status="terminated"),
        )
        assert await ids(store, ALL) == ["sesn_1", "sesn_2", "sesn_3"]
        assert await ids(store, replace(ALL, include_archived=True)) == ["sesn_1", "sesn_2", "sesn_3", "sesn_4"]
        assert await ids(store, replace(ALL, agent_id="agent_2")) == ["sesn_2"]
        assert await ids(store, replace(ALL, agent_id="agent_1", agent_version=2)) == ["sesn_3"]
        assert await ids(store, replace(ALL, deployment_id="depl_1")) == ["sesn_3"]
        assert await ids(store, replace(ALL, statuses=("running", "rescheduling"))) == ["sesn_2", "sesn_3"]
        assert await ids(store, replace(ALL, created={"gt": at(1), "lte": at(2)})) == ["sesn_2"]

    async def test_an_update_replaces_the_body_and_counts_changes_of_the_configuration(self, store: Store) -> None:
        await given(store, session())
        await write(store, statements.session_update(SESSION, body=b"b", updated_at=at(1), was_updated_at=at(0)))
        row = await loaded(store)
        assert (row.body, row.updated_at, row.config_rev) == (b"b", at(1), 0)
        await write(
            store,
            statements.session_update(SESSION, body=b"c", updated_at=at(2), was_updated_at=at(1), config_changed=True),
        )
        assert (await loaded(store)).config_rev == 1

    async def test_an_update_of_a_session_changed_in_the_meantime_conflicts(self, store: Store) -> None:
        await given(store, session())
        late = statements.session_update(SESSION, body=b"b", updated_at=at(2), was_updated_at=at(1))
        await refused(Conflict, write(store, late))
        assert await loaded(store) == session()

    async def test_progress_is_recorded_on_the_row(self, store: Store) -> None:
        await given(store, session())
        await write(
            store,
            statements.session_progress(SESSION, status="running", usage=b"u", running_since=at(1), at=at(2)),
        )
        row = await loaded(store)
        assert (row.status, row.usage, row.running_since, row.updated_at) == ("running", b"u", at(1), at(2))

    async def test_a_session_at_work_is_not_quiet(self, store: Store) -> None:
        at_work: tuple[Status, ...] = ("running", "rescheduling")
        for status in at_work:
            await given(store, session(status, status=status, epoch=4, owner="one"))
            refusal = await refused(Conflict, write(store, statements.session_quiet(status)))
            assert refusal.query == "session_quiet"
            row = await loaded(store, status)
            assert (row.epoch, row.owner) == (4, "one")

    async def test_a_quiet_session_is_taken_from_its_owner_who_can_write_no_more(self, store: Store) -> None:
        await given(store, session())
        claim = await claimed(store)
        await write(store, statements.session_quiet(SESSION))
        row = await loaded(store)
        assert (row.owner, row.lease_until, row.epoch) == (None, None, claim.epoch + 1)
        await refused(Fenced, store.commit(Batch(fence=Fence(SESSION, claim.epoch))))

    async def test_what_woke_the_owner_of_a_quiet_session_is_not_forgotten(self, store: Store) -> None:
        await given(store, session())
        await claimed(store)
        await write(store, statements.session_quiet(SESSION))
        assert [claim.session_id for claim in await store.queue.claim("two", 1, now=at(0), lease_until=at(30))]

    async def test_a_quiet_session_that_nobody_owned_is_not_woken(self, store: Store) -> None:
        await given(store, session(), session("sesn_2", wake_at=at(60)))
        await write(store, statements.session_quiet(SESSION), statements.session_quiet("sesn_2"))
        assert (await loaded(store)).wake_at is None
        assert (await loaded(store, "sesn_2")).wake_at == at(60)

    async def test_an_archived_session_is_terminated_and_sleeps_for_ever(self, store: Store) -> None:
        await given(store, session(wake_at=at(0), running_since=at(0)))
        await write(store, statements.session_quiet(SESSION), statements.session_archive(SESSION, at=at(3)))
        row = await loaded(store)
        assert (row.status, row.archived_at, row.updated_at) == ("terminated", at(3), at(3))
        assert (row.wake_at, row.running_since) == (None, None)
        assert await store.queue.claim("one", 1, now=at(9), lease_until=at(30)) == []

    async def test_a_batch_held_to_an_open_session_conflicts_when_it_is_closed(self, store: Store) -> None:
        await given(store, session(), session("archived", archived_at=at(1)), session("ended", status="terminated"))
        await write(store, statements.session_open(SESSION))
        for closed in ("archived", "ended", "missing"):
            refusal = await refused(Conflict, write(store, statements.session_open(closed)))
            assert refusal.query == "session_open"

    async def test_a_deleted_session_takes_its_log_and_inputs_along_and_nobody_elses(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        for session_id in (SESSION, "sesn_2"):
            await append(store, event("e1"), session_id=session_id)
            await write(store, statements.enqueue(session_id, [event("i1", "user.message")], now=at(0)))
        await write(store, statements.session_delete(SESSION))
        assert await store.sessions.load(SESSION) is None
        assert await store.log.read(SESSION) == []
        assert await store.log.inputs(SESSION, waiting=False) == []
        assert len(await store.log.read("sesn_2")) == len(await store.log.inputs("sesn_2")) == 1
