"""The state of a session is a fold over its log; nothing else is kept (engine.md section 4).

How the log becomes a conversation
----------------------------------
A model request is a span. What was said before `span.model_request_start` is closed into messages there and never
changes again, so the request of round n is a prefix of the request of round n+1. The reply is not rebuilt from the
public events, which show no thinking: `span.model_request_end` carries it, block by block, in its private part.

Order is by causality, not by position:

* an answer belongs to its call, by id, wherever in the log it stands;
* whatever else arrives between a span's start and its end was not seen by that request, so it takes its place after
  the reply;
* a system message stands directly before the reply that saw it, since the Messages API takes it nowhere else;
* inputs that were flushed by an exhausted error never enter a request.

Everything here is pure: the same events give the same state, in one go or in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import orjson

from roost.core.clock import parse_timestamp
from roost.store.protocols import Status, StoredEvent
from roost.wire.messages import Block, Message

CUT_OFF_NOTE = (
    "Your last reply reached the output limit in the middle of a tool call, so that call was dropped and did not run. "
    "Make the call again with less content, for example by writing a long file in several parts."
)


@dataclass
class Call:
    """A tool call of the last reply: the intent, what was decided about it, and its answer."""

    event_id: str
    block_id: str
    name: str
    input: Mapping[str, Any]
    custom: bool
    permission: str
    """`allow`, `ask` or `deny`, as evaluated when the call was recorded; `allow` for custom tools."""
    remote: bool = False
    """A built-in tool of a self-hosted session: a worker runs it and sends the result."""
    decision: Literal["allow", "deny"] | None = None
    deny_message: str | None = None
    answer: Block | None = None

    @property
    def answered(self) -> bool:
        return self.answer is not None

    @property
    def runnable(self) -> bool:
        """May be executed by our hands now."""
        ours = not self.custom and not self.remote
        return ours and not self.answered and "allow" in (self.permission, self.decision)

    @property
    def refused(self) -> bool:
        """Denied by the configuration or by the user, and not answered yet."""
        return not self.answered and "deny" in (self.permission, self.decision)

    @property
    def waits(self) -> bool:
        """Waits for the client or a worker: for a confirmation or for the result of a tool that we do not run."""
        return not self.answered and not self.runnable and not self.refused


@dataclass
class Usage:
    """Counters of the whole session."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_5m_tokens: int = 0
    cache_1h_tokens: int = 0
    active_s: float = 0.0


@dataclass
class State:
    """Where a session stands after the events folded so far."""

    cursor: int = 0
    status: Status = "idle"
    stop_reason: str | None = None
    parked: tuple[str, ...] = ()
    """The calls that the last idle said it waits for."""
    messages: list[Message] = field(default_factory=list)
    """What was said before the last request began, and the replies; never changed, only added to."""
    waiting: list[Block] = field(default_factory=list)
    """What the user said since."""
    notes: list[Block] = field(default_factory=list)
    """System messages that no reply has followed yet."""
    span: str | None = None
    """The id of the open model request."""
    calls: dict[str, Call] = field(default_factory=dict)
    """The calls of the last reply by event id, until the next request begins."""
    model_owes: bool = False
    """The model must be asked: it has not yet answered what was said, or paused in its turn."""
    reply_stop: str | None = None
    """The stop reason of the last reply, until the turn has ended."""
    stop_details: Mapping[str, Any] | None = None
    rounds: int = 0
    """Model requests of this turn."""
    attempts: int = 0
    """Failed tries since the last reply."""
    retry_at: str | None = None
    strikes: int = 0
    """Replies in a row that were cut off inside a tool call."""
    used_hands: bool = False
    """Whether a tool ran since the last idle, so that outputs may have changed."""
    running_since: datetime | None = None
    usage: Usage = field(default_factory=Usage)

    @property
    def open_calls(self) -> list[Call]:
        return [call for call in self.calls.values() if not call.answered]

    @property
    def noted(self) -> tuple[Message, ...]:
        """What ends the next request: the system messages that wait for a reply, as one."""
        return (Message("system", tuple(self.notes)),) if self.notes else ()

    def apply(self, events: Iterable[StoredEvent]) -> None:
        """Folds further events in; those already folded are passed over."""
        for event in events:
            if event.seq <= self.cursor:
                continue
            self.cursor = event.seq
            step = _STEPS.get(event.type)
            if step:
                step(self, event, orjson.loads(event.data))


def fold(events: Iterable[StoredEvent]) -> State:
    state = State()
    state.apply(events)
    return state


# --- what was said ---------------------------------------------------------------------------------------------------


def _flushed(event: StoredEvent) -> bool:
    return event.private is not None and bool(orjson.loads(event.private).get("flushed"))


def _user_message(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    if not _flushed(event):
        state.waiting += data["content"]
        state.model_owes = True


def _system_message(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    if not _flushed(event):
        state.notes += data["content"]


# --- model requests --------------------------------------------------------------------------------------------------


def _request_start(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    answers = [call.answer for call in state.calls.values() if call.answer is not None]
    if said := (*answers, *state.waiting):
        state.messages.append(Message("user", said))
    state.waiting, state.calls = [], {}
    state.span = event.id


def _request_end(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    state.span = None
    private = orjson.loads(event.private) if event.private else {}
    count(state.usage, private.get("usage") or data["model_usage"])
    if data["is_error"]:
        return
    state.attempts, state.retry_at = 0, None
    state.rounds += 1
    state.reply_stop = private["stop_reason"]
    state.stop_details = private.get("stop_details")
    cut_off = bool(private.get("cut_off"))
    state.strikes = state.strikes + 1 if cut_off else 0
    state.model_owes = private["stop_reason"] == "pause_turn" or cut_off
    if private["stop_reason"] != "refusal" and any(block["type"] in _SUBSTANCE for block in private["content"]):
        state.messages += (*state.noted, Message("assistant", tuple(private["content"])))
        state.notes = []
    if cut_off:
        state.waiting.insert(0, {"type": "text", "text": CUT_OFF_NOTE})
    blocks: Mapping[str, str] = private.get("calls", {})
    for call in state.calls.values():
        call.block_id = blocks[call.event_id]
        call.remote = bool(private.get("remote")) and not call.custom


_SUBSTANCE = ("text", "tool_use", "server_tool_use")
"""A reply without any of these says nothing: the Messages API refuses it as history, so it is left out."""


def count(usage: Usage, counted: Mapping[str, Any]) -> None:
    """Adds what a provider counted for one request."""
    usage.input_tokens += counted.get("input_tokens") or 0
    usage.output_tokens += counted.get("output_tokens") or 0
    usage.cache_read_input_tokens += counted.get("cache_read_input_tokens") or 0
    creation = counted.get("cache_creation") or {}
    hour = creation.get("ephemeral_1h_input_tokens") or 0
    usage.cache_1h_tokens += hour
    usage.cache_5m_tokens += (counted.get("cache_creation_input_tokens") or 0) - hour


# --- tools -----------------------------------------------------------------------------------------------------------


def _tool_use(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    permission = data.get("evaluated_permission") or "allow"
    state.calls[event.id] = Call(
        event.id, "", data["name"], data["input"], custom=event.type == "agent.custom_tool_use", permission=permission
    )


def _confirmation(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    call = state.calls.get(data["tool_use_id"])
    if call and not _flushed(event):
        call.decision = data["result"]
        call.deny_message = data["deny_message"]


def _tool_result(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    call = state.calls.get(data.get("tool_use_id") or data.get("custom_tool_use_id") or "")
    if call is None or call.answered:
        return
    content = data["content"] or [{"type": "text", "text": "(no output)"}]
    call.answer = {"type": "tool_result", "tool_use_id": call.block_id, "content": content}
    if data["is_error"]:
        call.answer["is_error"] = True
    state.used_hands = state.used_hands or not (call.custom or call.remote)
    if not state.open_calls and state.reply_stop != "refusal":
        state.model_owes = True


# --- statuses --------------------------------------------------------------------------------------------------------


def _running(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    state.status, state.stop_reason = "running", None
    state.running_since = parse_timestamp(event.ts)


def _rests(state: State, event: StoredEvent, status: Status) -> None:
    state.status = status
    if state.running_since is not None:
        state.usage.active_s += (parse_timestamp(event.ts) - state.running_since).total_seconds()
        state.running_since = None


def _idle(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    _rests(state, event, "idle")
    state.stop_reason = data["stop_reason"]["type"]
    state.parked = tuple(data["stop_reason"].get("event_ids", ()))
    state.used_hands = False
    if state.stop_reason != "requires_action":
        state.model_owes = False
        state.rounds = state.attempts = state.strikes = 0
        state.reply_stop = state.retry_at = None


def _rescheduled(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    _rests(state, event, "rescheduling")


def _terminated(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    _rests(state, event, "terminated")


def _error(state: State, event: StoredEvent, data: Mapping[str, Any]) -> None:
    if data["error"]["retry_status"]["type"] == "retrying":
        state.attempts += 1
        state.retry_at = orjson.loads(event.private)["retry_at"] if event.private else None


_STEPS: Mapping[str, Callable[[State, StoredEvent, Mapping[str, Any]], None]] = {
    "user.message": _user_message,
    "system.message": _system_message,
    "user.tool_confirmation": _confirmation,
    "user.custom_tool_result": _tool_result,
    "user.tool_result": _tool_result,
    "agent.tool_use": _tool_use,
    "agent.custom_tool_use": _tool_use,
    "agent.tool_result": _tool_result,
    "span.model_request_start": _request_start,
    "span.model_request_end": _request_end,
    "session.status_running": _running,
    "session.status_idle": _idle,
    "session.status_rescheduled": _rescheduled,
    "session.status_terminated": _terminated,
    "session.error": _error,
}
