"""Any run of appends, queued inputs, admissions, wrong clocks and reopenings leaves the log that a list would hold."""

from __future__ import annotations

import asyncio
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from roost.core.clock import SystemClock
from roost.store import statements
from roost.store.conformance.samples import SESSION, append, at, event, given, session, write
from roost.store.protocols import Conflict
from roost.store.sqlite import SqliteStore

T = TypeVar("T")
TIMES = st.integers(0, 20)
TYPES = ("agent.message", "agent.tool_use", "agent.thinking")


class LogMachine(RuleBasedStateMachine):
    """The model: a list of (id, type, time) for the log, and a list of ids for what waits."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.log: list[tuple[str, str, str]] = []
        self.waiting: list[str] = []
        self.made = 0

    def run(self, step: Awaitable[T]) -> T:
        async def stepping() -> T:
            return await step

        return self.runner.run(stepping())

    def new_id(self) -> str:
        self.made += 1
        return f"e{self.made}"

    def moment(self, now: int) -> str:
        """The time that an event gets which is written now: never before the last one's."""
        return max(at(now), self.log[-1][2]) if self.log else at(now)

    @initialize()
    def a_session(self) -> None:
        self.reopen()
        self.run(given(self.store, session()))

    def reopen(self) -> None:
        self.store = self.run(SqliteStore.open(Path(self.folder.name), SystemClock()))

    @rule(types=st.lists(st.sampled_from(TYPES), max_size=4), now=TIMES)
    def appended(self, types: list[str], now: int) -> None:
        drafts = [event(self.new_id(), name) for name in types]
        self.run(append(self.store, *drafts, now=now))
        moment = self.moment(now)
        self.log += [(draft.id, draft.type, moment) for draft in drafts]

    @rule(now=TIMES, back=st.integers(0, 5))
    def refused(self, now: int, back: int) -> None:
        """An id that is there already, behind one that is new: neither is written."""
        if self.log:
            known = self.log[-1 - back % len(self.log)][0]
            with pytest.raises(Conflict):
                self.run(append(self.store, event(self.new_id()), event(known), now=now))

    @rule(count=st.integers(1, 3))
    def queued(self, count: int) -> None:
        drafts = [event(self.new_id(), "user.message") for _ in range(count)]
        self.run(write(self.store, statements.enqueue(SESSION, drafts, now=at(0))))
        self.waiting += [draft.id for draft in drafts]

    @rule(count=st.integers(0, 4), now=TIMES)
    def admitted(self, count: int, now: int) -> None:
        taken = self.run(self.store.log.inputs(SESSION))[:count]
        self.run(
            write(
                self.store,
                statements.append(SESSION, [queued.draft() for queued in taken], now=at(now)),
                *(statements.input_admit(SESSION, queued.n, event_id=queued.id) for queued in taken),
            )
        )
        moment = self.moment(now)
        self.log += [(queued.id, "user.message", moment) for queued in taken]
        self.waiting = self.waiting[len(taken) :]

    @rule()
    def reopened(self) -> None:
        self.run(self.store.close())
        self.reopen()

    @rule(
        after=st.integers(0, 30),
        length=st.integers(0, 30),
        limit=st.none() | st.integers(1, 9),
        descending=st.booleans(),
        types=st.sets(st.sampled_from(TYPES)),
        low=TIMES,
        high=TIMES,
    )
    def read(
        self, after: int, length: int, limit: int | None, descending: bool, types: set[str], low: int, high: int
    ) -> None:
        found = self.run(
            self.store.log.read(
                SESSION,
                after=after,
                before=after + length,
                limit=limit,
                descending=descending,
                types=sorted(types),
                bounds={"gte": at(low), "lte": at(high)},
            )
        )
        times = [moment for _, _, moment in self.log]
        first, end = bisect_left(times, at(low)), bisect_right(times, at(high))
        stretch = range(max(first, after), min(end, after + length - 1))
        expected = [(n + 1, *self.log[n]) for n in stretch if not types or self.log[n][1] in types]
        ordered = expected[::-1] if descending else expected
        assert [(stored.seq, stored.id, stored.type, stored.ts) for stored in found] == ordered[:limit]

    @invariant()
    def the_log_is_the_list(self) -> None:
        log = self.run(self.store.log.read(SESSION))
        assert [(stored.seq, stored.id, stored.type, stored.ts) for stored in log] == [
            (n, *entry) for n, entry in enumerate(self.log, start=1)
        ]
        assert [queued.id for queued in self.run(self.store.log.inputs(SESSION))] == self.waiting

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


LogMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, database=None)
TestLogMachine = LogMachine.TestCase
