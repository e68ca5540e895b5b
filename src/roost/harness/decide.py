"""What a session needs next: a pure function of its state and of the inputs that wait.

Each answer is one of the small values below; `turn.py` carries it out, which changes the log, which changes the state,
and asks again. The order of the questions is the priority: an interrupt outranks everything, calls are answered before
the model is asked, and a turn ends only when nobody owes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from roost.core.settings import Settings
from roost.harness.fold import Call, State
from roost.store.protocols import QueuedInput

SPEECH = ("user.message", "system.message")
"""Inputs that are said to the model; they wait while calls are open."""


@dataclass(frozen=True)
class Interrupt:
    """Stop everything, answer what is open, go idle; confirmations that came along decide nothing any more."""

    inputs: tuple[QueuedInput, ...]


@dataclass(frozen=True)
class CloseSpan:
    """A request of a brain that is gone: it never got its reply."""

    span_id: str


@dataclass(frozen=True)
class BackOff:
    """Too early to try the model again."""

    until: str


@dataclass(frozen=True)
class Confirm:
    """Take up confirmations; they decide what runs."""

    inputs: tuple[QueuedInput, ...]


@dataclass(frozen=True)
class Answer:
    """Calls that are refused get their error result without running."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Execute:
    """Run these calls, side by side."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Park:
    """Wait for the client, without a lease, for as long as it takes."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True)
class GiveUp:
    """This turn is dead; the limit that ended it names the error."""

    error: str
    message: str


@dataclass(frozen=True)
class Ask:
    """Ask the model, with these inputs taken up first."""

    inputs: tuple[QueuedInput, ...]


@dataclass(frozen=True)
class End:
    """The turn is over."""


@dataclass(frozen=True)
class Rest:
    """Nothing to do."""


Step = Interrupt | CloseSpan | BackOff | Confirm | Answer | Execute | Park | GiveUp | Ask | End | Rest


def next_step(state: State, inputs: Sequence[QueuedInput], *, now: str, settings: Settings) -> Step:
    """The one next thing to do."""
    if state.status == "terminated":
        return Rest()
    if state.span is not None:
        return CloseSpan(state.span)
    if any(entry.type == "user.interrupt" for entry in inputs):
        return Interrupt(tuple(entry for entry in inputs if entry.type not in SPEECH))
    confirmations = tuple(entry for entry in inputs if entry.type == "user.tool_confirmation")
    if confirmations:
        return Confirm(confirmations)
    if state.open_calls:
        return _calls(state)
    return _speech(state, inputs, now, settings)


def _calls(state: State) -> Step:
    """Calls that need no approval never wait for those that do; approved and denied ones wait until all are settled."""
    unsettled = any(call.waits for call in state.open_calls)
    ready = [call for call in state.open_calls if not call.waits and not (unsettled and call.permission == "ask")]
    refused = tuple(call for call in ready if call.refused)
    if refused:
        return Answer(refused)
    if ready:
        return Execute(tuple(ready))
    ids = tuple(call.event_id for call in state.open_calls if call.waits)
    return Rest() if state.status == "idle" and state.parked == ids else Park(ids)


def _speech(state: State, inputs: Sequence[QueuedInput], now: str, settings: Settings) -> Step:
    if state.status == "rescheduling" and state.retry_at is not None and now < state.retry_at:
        return BackOff(state.retry_at)
    if state.reply_stop == "refusal":
        return End()
    said = _up_to_system(entry for entry in inputs if entry.type in SPEECH)
    if state.strikes >= settings.max_tokens_strikes_max:
        return GiveUp(
            "model_request_failed_error",
            f"The model hit its output limit inside a tool call {state.strikes} times in a row.",
        )
    if not said and not state.model_owes:
        return End() if state.status != "idle" else Rest()
    if state.status == "running" and state.rounds >= settings.tool_rounds_max:
        return GiveUp(
            "tool_use_limit_reached_error",
            f"The turn reached its limit of {settings.tool_rounds_max} model requests. Send a message to go on.",
        )
    return Ask(said)


def _up_to_system(inputs: Iterable[QueuedInput]) -> tuple[QueuedInput, ...]:
    """A system message ends what one request takes up: in the Messages API only a reply may stand behind it."""
    said = []
    for entry in inputs:
        said.append(entry)
        if entry.type == "system.message":
            break
    return tuple(said)
