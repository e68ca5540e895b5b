"""What holds for every session, whatever the model says, the client sends and the machine does in the meantime."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.core.clock import SystemClock
from roost.harness.fold import State, fold
from roost.store.protocols import StoredEvent
from roost.store.sqlite import SqliteStore
from tests.messages_server.history import check_messages
from tests.properties.play import Plan, Play, Say
from tests.rig.grammar import broken_rules

TOOLS = ["bash", "bash", "write", "look", "grep", "teleport"]
ASIDES = ["nothing", "nothing", "nothing", "message", "note", "answer", "interrupt", "crash", "crash late"]
ENDINGS = ["whole"] * 8 + ["cut", "refusal", "pause", "busy", "broken", "failed"]
MOVES = ["message", "message and note", "answer one", "answer all", "deny all", "interrupt", "redirect"]
DISPENSABLE = (
    "agent.message",
    "agent.thinking",
    "session.error",
    "system.message",
    "user.interrupt",
    "user.message",
    "user.tool_confirmation",
)
"""Events whose absence leaves a log in good order: it tells another story."""

says = st.builds(
    Say,
    thinks=st.booleans(),
    texts=st.integers(0, 2),
    calls=st.lists(st.sampled_from(TOOLS), max_size=3).map(tuple),
    ending=st.sampled_from(ENDINGS),
    aside=st.sampled_from(ASIDES),
    tool_aside=st.sampled_from(ASIDES),
)
plans = st.builds(
    Plan,
    says=st.lists(says, min_size=1, max_size=8).map(tuple),
    moves=st.lists(st.sampled_from(MOVES), max_size=4).map(lambda moves: ("message", *moves)),
)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = settings(many, max_examples=25)


class Stage:
    """An event loop and a store that plays are given on, one after another."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        self._store = self._runner.run(SqliteStore.open(folder, SystemClock()))

    def given(self, plan: Plan) -> Play:
        return self._runner.run(Play(self._store, plan).run())

    def now(self, awaited: Any) -> Any:
        return self._runner.run(awaited)

    def close(self) -> None:
        self._runner.run(self._store.close())
        self._runner.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    opened = Stage(tmp_path_factory.mktemp("stage") / "data")
    yield opened
    opened.close()


def requests(events: list[StoredEvent]) -> list[list[bytes]]:
    """The messages of each request, as a fold that stops at its start has them."""
    state, found = State(), []
    for event in events:
        state.apply([event])
        if event.type == "span.model_request_start":
            found.append([message.encoded for message in (*state.messages, *state.noted)])
    return found


@many
@given(plans)
def test_every_log_keeps_the_order_of_events_and_comes_to_rest(stage: Stage, plan: Plan) -> None:
    play = stage.given(plan)
    assert broken_rules(stage.now(play.events())) == []
    assert stage.now(play.store.log.inputs(play.session_id)) == []
    assert stage.now(play.row()).status == "idle"


@some
@given(plans, st.data())
def test_a_log_that_lacks_an_event_breaks_a_rule(stage: Stage, plan: Plan, data: st.DataObject) -> None:
    """The rules above can be broken: what holds the order together is missed when it is gone."""
    events = stage.now(stage.given(plan).events())
    needed = [place for place, event in enumerate(events) if event["type"] not in DISPENSABLE]
    place = data.draw(st.sampled_from(needed))
    assert broken_rules([*events[:place], *events[place + 1 :]]) != []


@many
@given(plans)
def test_every_request_is_one_the_messages_api_takes(stage: Stage, plan: Plan) -> None:
    for request in stage.given(plan).requests:
        check_messages([orjson.loads(message) for message in request], thinks=True)


@many
@given(plans)
def test_every_request_begins_with_the_bytes_of_the_one_before(stage: Stage, plan: Plan) -> None:
    """But for a system message whose request broke off: it moves behind what the user said since."""
    for before, after in pairwise(stage.given(plan).requests):
        noted = before[-1].startswith(b'{"role":"system"')
        moved = noted and before[-1] != after[len(before) - 1]
        assert b",".join(after).startswith(b",".join(before[:-1] if moved else before))


@some
@given(plans)
def test_the_model_is_asked_what_the_log_says(stage: Stage, plan: Plan) -> None:
    play = stage.given(plan)
    assert play.requests == requests(stage.now(play.stored()))


@many
@given(plans)
def test_every_call_is_answered_exactly_once_and_runs_at_most_once(stage: Stage, plan: Plan) -> None:
    play = stage.given(plan)
    events = stage.now(play.events())
    calls = [event["id"] for event in events if event["type"] in ("agent.tool_use", "agent.custom_tool_use")]
    results = [event for event in events if event["type"].endswith("tool_result")]
    answers = [event.get("custom_tool_use_id") or event["tool_use_id"] for event in results]
    assert sorted(answers) == sorted(calls)
    assert set(play.runs.values()) <= {1}
    ran = {event["tool_use_id"] for event in results if "tool_use_id" in event and not event["is_error"]}
    assert ran <= play.runs.keys()


@some
@given(plans)
def test_the_row_counts_what_the_log_counts(stage: Stage, plan: Plan) -> None:
    play = stage.given(plan)
    folded, row = fold(stage.now(play.stored())).usage, orjson.loads(stage.now(play.row()).usage)
    assert row["input_tokens"] == folded.input_tokens
    assert row["output_tokens"] == folded.output_tokens
    assert row["cache_read_input_tokens"] == folded.cache_read_input_tokens


@some
@given(plans, st.data())
def test_a_log_folded_in_pieces_gives_the_state_of_the_whole(stage: Stage, plan: Plan, data: st.DataObject) -> None:
    events = stage.now(stage.given(plan).stored())
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=8).map(sorted))
    state = State()
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        state.apply(events[max(0, start - 1) : end])
    assert state == fold(events)


@some
@given(plans, st.data())
def test_a_clients_answer_may_stand_anywhere_between_its_call_and_the_next_request(
    stage: Stage, plan: Plan, data: st.DataObject
) -> None:
    events = stage.now(stage.given(plan).stored())
    asked = requests(events)
    for answer_id in [event.id for event in events if event.type == "user.custom_tool_result"]:
        place = next(at for at, event in enumerate(events) if event.id == answer_id)
        answer, others = events[place], [*events[:place], *events[place + 1 :]]
        first = max(at for at, event in enumerate(others[:place], 1) if event.type == "span.model_request_end")
        later = (at for at, event in enumerate(others) if at >= place and event.type == "span.model_request_start")
        moved = data.draw(st.integers(first, next(later, len(others))))
        events = [replace(event, seq=seq) for seq, event in enumerate([*others[:moved], answer, *others[moved:]], 1)]
    assert requests(events) == asked
