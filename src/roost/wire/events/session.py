"""What became of the session (contract/events.md, session.*)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from roost.wire.events.event import Event
from roost.wire.shape import Wire, encode


class EndTurn(Wire):
    type: Literal["end_turn"] = "end_turn"


class RequiresAction(Wire):
    type: Literal["requires_action"] = "requires_action"
    event_ids: list[str]


class RetriesExhausted(Wire):
    type: Literal["retries_exhausted"] = "retries_exhausted"


class Refusal(Wire):
    type: Literal["refusal"] = "refusal"


StopReason = Annotated[EndTurn | RequiresAction | RetriesExhausted | Refusal, Field(discriminator="type")]


class StopDetails(Wire):
    """Why a model refused."""

    type: Literal["refusal"] = "refusal"
    category: str | None = None
    explanation: str | None = None


RetryState = Literal["retrying", "exhausted", "terminal"]
ErrorType = Literal[
    "unknown_error",
    "model_overloaded_error",
    "model_rate_limited_error",
    "model_request_failed_error",
    "billing_error",
    "tool_use_limit_reached_error",
]


class RetryStatus(Wire):
    type: RetryState


class ErrorBody(Wire):
    type: ErrorType
    message: str
    retry_status: RetryStatus


class SessionError(Event):
    type: Literal["session.error"] = "session.error"
    error: ErrorBody


class StatusRunning(Event):
    type: Literal["session.status_running"] = "session.status_running"


class StatusIdle(Event):
    """The last event of a turn, always."""

    type: Literal["session.status_idle"] = "session.status_idle"
    stop_reason: StopReason
    stop_details: StopDetails | None = None


class StatusRescheduled(Event):
    type: Literal["session.status_rescheduled"] = "session.status_rescheduled"


class StatusTerminated(Event):
    type: Literal["session.status_terminated"] = "session.status_terminated"


class ThreadEvent(Event):
    session_thread_id: str
    agent_name: str


class ThreadStatusRunning(ThreadEvent):
    type: Literal["session.thread_status_running"] = "session.thread_status_running"


class ThreadStatusIdle(ThreadEvent):
    type: Literal["session.thread_status_idle"] = "session.thread_status_idle"
    stop_reason: StopReason
    stop_details: StopDetails | None = None


class ThreadStatusRescheduled(ThreadEvent):
    type: Literal["session.thread_status_rescheduled"] = "session.thread_status_rescheduled"


class ThreadStatusTerminated(ThreadEvent):
    type: Literal["session.thread_status_terminated"] = "session.thread_status_terminated"


class CacheCreation(Wire):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class ServerToolUse(Wire):
    web_search_requests: int = 0
    web_fetch_requests: int = 0


class UsageSnapshot(Wire):
    """Counters of the whole session (contract/sessions.md, usage). `list_cost` is null until prices are known."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation = CacheCreation()
    active_seconds: float = 0.0
    list_cost: dict[str, str] | None = None
    server_tool_use: ServerToolUse = ServerToolUse()


class SessionUsage(Event):
    type: Literal["session.usage"] = "session.usage"
    usage: UsageSnapshot
    budget: dict[str, Any] | None = None


class SessionUpdated(Event):
    """Carries only what changed; `agent`, when present, is the whole effective snapshot."""

    type: Literal["session.updated"] = "session.updated"
    agent: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    title: str | None = None

    def head(self) -> bytes:
        changed = self.model_dump(mode="json", include={"id", "type"} | self.model_fields_set)
        return encode(changed)[:-1] + b',"processed_at":'


class SessionDeleted(Event):
    """Closes open streams; never stored, since the log goes with the session."""

    type: Literal["session.deleted"] = "session.deleted"
