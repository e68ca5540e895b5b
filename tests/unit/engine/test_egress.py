"""The recorder of the egress log never waits, is bounded, and says what it lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.core.clock import SystemClock
from roost.engine.egress import HOST_CHARS_MAX, REASON_CHARS_MAX, WAITING_MAX, EgressRecorder
from roost.proxy.exchange import Passage
from roost.store.conformance.samples import SESSION, given, session
from roost.store.sqlite import SqliteStore
from roost.store.statements import EGRESS_ROWS_MAX

PASSAGE = Passage("GET", "ok.test", 80, "allowed")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data", SystemClock())
    await given(opened, session())
    yield opened
    await opened.close()


async def test_past_the_bound_entries_are_lost_and_counted(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = EgressRecorder(store, SystemClock())
    for _ in range(WAITING_MAX + 3):
        recorder.record(SESSION, PASSAGE)
    await recorder.stop()
    assert len(await store.egress.list(SESSION, limit=2 * EGRESS_ROWS_MAX)) == WAITING_MAX
    assert "the egress log lost 3 entries" in caplog.text


async def test_what_a_sandbox_can_make_long_is_cut(store: SqliteStore) -> None:
    recorder = EgressRecorder(store, SystemClock())
    recorder.record(SESSION, Passage("G" * 9_000, "h" * 9_000, 80, "refused", "r" * 9_000))
    await recorder.stop()
    (row,) = await store.egress.list(SESSION, limit=10)
    assert (len(row.method), len(row.host), len(row.reason)) == (HOST_CHARS_MAX, HOST_CHARS_MAX, REASON_CHARS_MAX)


async def test_an_entry_of_a_session_that_is_gone_leaves_nothing(store: SqliteStore) -> None:
    recorder = EgressRecorder(store, SystemClock())
    recorder.record("sesn_gone", PASSAGE)
    recorder.record(SESSION, PASSAGE)
    await recorder.stop()
    assert await store.egress.list("sesn_gone", limit=10) == []
    assert len(await store.egress.list(SESSION, limit=10)) == 1
