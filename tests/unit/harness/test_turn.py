"""Moments of a turn that a whole server shows too rarely: races with a client, the pauses between tries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.core.clock import SystemClock
from roost.store.protocols import Batch, Row
from roost.store.sqlite import SqliteStore
from tests.properties.play import Plan, Play, Say
from tests.rig.grammar import broken_rules


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data", SystemClock())
    yield opened
    await opened.close()


async def test_a_clients_answer_that_overtakes_an_interrupt_stands(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both answer the same call; the store takes the first one, and the interrupt is carried out all the same."""
    play = Play(store, Plan(says=(Say(calls=("look",)),), moves=("message", "interrupt")))
    commit = store.commit
    overtaken = False

    async def races(batch: Batch) -> list[list[Row]]:
        nonlocal overtaken
        answers = [found.parameters.get("answers") for found in batch.statements]
        if batch.fence and any(answers) and not overtaken:
            overtaken = True
            await play.move("answer all")
        return await commit(batch)

    monkeypatch.setattr(store, "commit", races)
    await play.run()
    events = await play.events()
    assert overtaken
    assert broken_rules(events) == []
    assert [event["error"]["message"] for event in events if event["type"] == "session.error"] == []
    (answer,) = [event for event in events if event["type"] == "user.custom_tool_result"]
    assert answer["content"][0]["text"] == "seen"
    assert events[-1]["stop_reason"] == {"type": "end_turn"}


async def test_pauses_between_tries_double_and_end(store: SqliteStore) -> None:
    play = await Play(store, Plan(says=(Say(ending="busy"),) * 3, moves=())).run()
    messages = [event["error"]["message"] for event in await play.events() if event["type"] == "session.error"]
    pauses = [re.findall(r"again in (\S+) s \((.*)\)", message) for message in messages]
    assert pauses == [[("1.0", "1 of 2")], [("2.0", "2 of 2")], []]


async def test_an_interrupt_that_comes_while_a_result_is_recorded_is_obeyed(store: SqliteStore) -> None:
    """The hint arrives together with the result of the other call, and there is no poll to make up for it."""
    play = Play(store, Plan(says=(Say(calls=("bash", "bash"), tool_aside="interrupt"),), moves=("message",)))
    await play.run()
    events = await play.events()
    assert broken_rules(events) == []
    assert [event["is_error"] for event in events if event["type"] == "agent.tool_result"] == [False, True]
