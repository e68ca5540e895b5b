"""A session's log, written by hand in the words of a session, with the reply's own code behind it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from roost.core.clock import later, timestamp
from roost.harness.fold import State, fold
from roost.harness.reply import ReplyReader, model_usage
from roost.harness.tools.toolset import Toolset
from roost.store.bus import LocalBus
from roost.store.protocols import EventDraft, StoredEvent
from roost.store.statements import draft
from roost.wire.events import session as wire
from roost.wire.events.agent import AgentToolResult
from roost.wire.events.content import TextBlock
from roost.wire.events.event import Event
from roost.wire.events.span import ModelRequestEnd, ModelRequestStart
from roost.wire.events.user import (
    SystemMessage,
    UserCustomToolResult,
    UserMessage,
    UserToolConfirmation,
    UserToolResult,
)
from roost.wire.messages import Block
from tests.rig.stream import stream

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOOLS = Toolset(
    (
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
            "configs": [
                {"name": "write", "enabled": True, "permission_policy": {"type": "always_ask"}},
                {"name": "grep", "enabled": False, "permission_policy": {"type": "always_allow"}},
            ],
        },
        {"type": "custom", "name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
    )
)
"""`bash` may run, `write` must be asked for, `grep` is off, `look` is the client's."""


class LogBook:
    """Events in order, one second apart. Every method that names a step returns the id to refer to it by."""

    def __init__(self, *, self_hosted: bool = False) -> None:
        self.events: list[StoredEvent] = []
        self._self_hosted = self_hosted
        self._span = ""

    @property
    def state(self) -> State:
        return fold(self.events)

    def add(self, event: Event | EventDraft, private: Mapping[str, Any] | None = None) -> str:
        hidden = orjson.dumps(private) if private else None
        made = event if isinstance(event, EventDraft) else draft(event, private=hidden)
        ts = timestamp(later(START, len(self.events)))
        data = made.head + f'"{ts}"}}'.encode()
        self.events.append(StoredEvent(len(self.events) + 1, made.id, made.type, ts, data, made.private))
        return made.id

    def runs(self) -> str:
        return self.add(wire.StatusRunning())

    def says(self, said: str, *, flushed: bool = False) -> str:
        return self.add(UserMessage(content=[TextBlock(text=said)]), {"flushed": True} if flushed else None)

    def notes(self, said: str) -> str:
        return self.add(SystemMessage(content=[TextBlock(text=said)]))

    def asks(self) -> str:
        self._span = self.add(ModelRequestStart())
        return self._span

    def replies(self, *blocks: Block, **ending: Any) -> list[str]:
        """The reply to the open request; returns the ids of its calls."""
        reader = ReplyReader("sesn_1", LocalBus())
        for event in stream(*blocks, **ending):
            reader.feed(event)
        drafts = reader.finish().drafts(self._span, TOOLS, remote=self._self_hosted)
        for made in drafts:
            self.add(made)
        return [made.id for made in drafts if made.type in ("agent.tool_use", "agent.custom_tool_use")]

    def breaks_off(self, usage: Mapping[str, Any] | None = None) -> str:
        counted = usage or {}
        end = ModelRequestEnd(model_request_start_id=self._span, is_error=True, model_usage=model_usage(counted))
        return self.add(end, {"usage": counted} if usage else None)

    def allows(self, call_id: str) -> str:
        return self.add(UserToolConfirmation(tool_use_id=call_id, result="allow"))

    def denies(self, call_id: str, why: str | None = None) -> str:
        return self.add(UserToolConfirmation(tool_use_id=call_id, result="deny", deny_message=why))

    def results(self, call_id: str, said: str = "done", *, is_error: bool = False) -> str:
        content = [{"type": "text", "text": said}]
        return self.add(AgentToolResult(tool_use_id=call_id, content=content, is_error=is_error))

    def answers(self, call_id: str, said: str | None = "seen") -> str:
        content = [TextBlock(text=said)] if said else None
        return self.add(UserCustomToolResult(custom_tool_use_id=call_id, content=content))

    def worker_results(self, call_id: str, said: str = "done") -> str:
        return self.add(UserToolResult(tool_use_id=call_id, content=[TextBlock(text=said)]))

    def fails(self, retry: wire.RetryState, *, retry_at: str | None = None) -> str:
        status = wire.RetryStatus(type=retry)
        error = wire.ErrorBody(type="model_overloaded_error", message="busy", retry_status=status)
        return self.add(wire.SessionError(error=error), {"retry_at": retry_at} if retry_at else None)

    def reschedules(self) -> str:
        return self.add(wire.StatusRescheduled())

    def rests(self, *waiting: str) -> str:
        """Idle: waiting for these calls, or at the end of the turn."""
        reason = wire.RequiresAction(event_ids=list(waiting)) if waiting else wire.EndTurn()
        return self.add(wire.StatusIdle(stop_reason=reason))

    def terminates(self) -> str:
        return self.add(wire.StatusTerminated())


def opening(said: str = "Hello", *, self_hosted: bool = False) -> LogBook:
    """A running turn whose first request is open."""
    book = LogBook(self_hosted=self_hosted)
    book.runs()
    book.says(said)
    book.asks()
    return book
