"""Safeties taken away on purpose: the checks of this suite must see it, or they prove nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from roost.core.clock import SystemClock, timestamp
from roost.store.protocols import WAKE_TOPIC, Batch, Row
from tests.crash.story import SCRIPT
from tests.crash.test_matrix import told
from tests.messages_server import Hold, MessagesProcess, reply, text
from tests.rig.chat import Chat
from tests.rig.grammar import broken_rules
from tests.rig.waiting import WAIT_S
from tests.rig.world import World, world

pytestmark = [pytest.mark.crash, pytest.mark.sandbox]


class Late:
    """A brain that lost its lease in the middle of a request, and does not know it."""

    def __init__(self, here: World, fenced: bool) -> None:
        self._here = here
        self._fenced = fenced
        self._epoch = 0
        self.spoke = asyncio.Event()
        """Set when it has tried to write."""
        self._commit = here.roost.store.commit

    async def commit(self, batch: Batch) -> list[list[Row]]:
        """The store's; without the fence where that is taken away."""
        late = batch.fence is not None and batch.fence.epoch == self._epoch
        try:
            return await self._commit(batch if self._fenced else replace(batch, fence=None))
        finally:
            if late:
                self.spoke.set()

    async def loses_its_lease(self, chat: Chat) -> None:
        row = await self._here.roost.store.sessions.load(chat.id)
        assert row is not None
        self._epoch = row.epoch
        await self._here.roost.store.queue.reap(now=timestamp(SystemClock().now()), alive=[])
        self._here.roost.store.bus.publish(WAKE_TOPIC)


async def test_a_brain_that_lost_its_lease_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await _with_two_brains(tmp_path, monkeypatch, fenced=True) == (["Two"], [])


async def test_without_fencing_the_log_breaks_its_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, broken = await _with_two_brains(tmp_path, monkeypatch, fenced=False)
    assert said == ["Two", "One"]
    assert broken != []


async def _with_two_brains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fenced: bool
) -> tuple[list[str], list[str]]:
    """What the agent said, and which rules are broken, after a late brain got its reply behind its successor's."""
    waits = asyncio.Event()
    async with world(tmp_path) as here:
        late = Late(here, fenced)
        monkeypatch.setattr(here.roost.store, "commit", late.commit)
        here.plays(reply(text("One", Hold(waits))), reply("Two"))
        async with here.session() as chat:
            await chat.say("Go")
            await here.model.asked(1)
            await late.loses_its_lease(chat)
            await chat.idle()
            waits.set()
            await asyncio.wait_for(late.spoke.wait(), WAIT_S)
            return await chat.texts(), broken_rules(await chat.events())


async def test_without_a_ledger_of_call_ids_a_command_runs_twice_and_the_check_sees_it(tmp_path: Path) -> None:
    """Killed before the commit of a result: the command has run, and only the ledger knows."""
    plan = ("--kill-at", "4", "--moment", "before")
    forgets = ("--mutant", "forget-calls")
    with MessagesProcess(SCRIPT) as model:
        deaths, found, _ = await told(tmp_path / "healthy", model.url, plan)
        assert (deaths, found) == (1, [])
        deaths, found, _ = await told(tmp_path / "mutant", model.url, (*plan, *forgets), forgets)
    assert deaths == 1
    assert any("commands that ran" in wrong for wrong in found)
