"""The log of what left a session's sandbox: newest first, bounded, gone with its session."""

from __future__ import annotations

from dataclasses import replace

from roost.store import statements
from roost.store.conformance.samples import SESSION, at, given, session, write
from roost.store.passages import EgressRow
from roost.store.protocols import Store

ROW = EgressRow(SESSION, at(0), "CONNECT", "example.com", 443, "allowed", "", 10, 20, 5)
REFUSED = replace(ROW, host="other.test", decision="refused", reason="not allowed")


class TestEgress:
    async def test_entries_are_numbered_by_session_and_read_newest_first(self, store: Store) -> None:
        await given(store, session(), session("sesn_2"))
        await write(store, statements.egress_append([ROW, replace(ROW, session_id="sesn_2"), REFUSED]))
        assert await store.egress.list(SESSION, limit=10) == [replace(REFUSED, n=2), replace(ROW, n=1)]
        assert await store.egress.list("sesn_2", limit=10) == [replace(ROW, session_id="sesn_2", n=1)]

    async def test_a_page_begins_before_a_number_and_may_hold_one_decision_only(self, store: Store) -> None:
        await given(store, session())
        await write(store, statements.egress_append([ROW, REFUSED, ROW, REFUSED]))
        assert [row.n for row in await store.egress.list(SESSION, limit=2)] == [4, 3]
        assert [row.n for row in await store.egress.list(SESSION, before=3, limit=2)] == [2, 1]
        assert [row.n for row in await store.egress.list(SESSION, decision="refused", before=4, limit=9)] == [2]

    async def test_the_newest_are_kept_and_numbers_are_not_used_again(self, store: Store) -> None:
        await given(store, session())
        most = statements.EGRESS_ROWS_MAX
        for _ in range(2):
            await write(store, statements.egress_append([ROW] * (most // 2 + 1)))
        kept = [row.n for row in await store.egress.list(SESSION, limit=2 * most)]
        assert kept == list(range(most + 2, 2, -1))

    async def test_it_goes_with_its_session_and_a_late_entry_leaves_nothing(self, store: Store) -> None:
        await given(store, session())
        await write(store, statements.egress_append([ROW]))
        await write(store, *statements.session_delete(SESSION))
        await write(store, statements.egress_append([ROW]))
        assert await store.egress.list(SESSION, limit=10) == []
