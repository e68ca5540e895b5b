"""The seven events a client can send, as sent (`...Params`) and as stored (contract/events.md)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from roost.wire.events.content import MessageBlock, NonEmptyText, ResultBlock, TextBlock
from roost.wire.events.event import Event
from roost.wire.shape import Params

DENY_MESSAGE_CHARS_MAX = 10_000
SYSTEM_BLOCKS_MAX = 1_000
RUBRIC_CHARS_MAX = 262_144
ITERATIONS_MAX = 20

Content = Annotated[list[MessageBlock], Field(min_length=1)]
SystemContent = Annotated[list[TextBlock], Field(min_length=1, max_length=SYSTEM_BLOCKS_MAX)]


class UserMessageParams(Params):
    type: Literal["user.message"]
    content: Content


class UserInterruptParams(Params):
    type: Literal["user.interrupt"]
    session_thread_id: str | None = None


class UserToolConfirmationParams(Params):
    type: Literal["user.tool_confirmation"]
    tool_use_id: NonEmptyText
    result: Literal["allow", "deny"]
    deny_message: Annotated[str, Field(max_length=DENY_MESSAGE_CHARS_MAX)] | None = None


class UserCustomToolResultParams(Params):
    type: Literal["user.custom_tool_result"]
    custom_tool_use_id: NonEmptyText
    content: list[ResultBlock] | None = None
    is_error: bool | None = None


class UserToolResultParams(Params):
    type: Literal["user.tool_result"]
    tool_use_id: NonEmptyText
    content: list[ResultBlock] | None = None
    is_error: bool | None = None


class TextRubric(Params):
    type: Literal["text"]
    content: Annotated[str, Field(min_length=1, max_length=RUBRIC_CHARS_MAX)]


class FileRubric(Params):
    type: Literal["file"]
    file_id: NonEmptyText


class UserDefineOutcomeParams(Params):
    type: Literal["user.define_outcome"]
    description: NonEmptyText
    rubric: Annotated[TextRubric | FileRubric, Field(discriminator="type")]
    max_iterations: Annotated[int, Field(ge=1, le=ITERATIONS_MAX)] | None = None


class SystemMessageParams(Params):
    type: Literal["system.message"]
    content: SystemContent


SendParams = Annotated[
    UserMessageParams
    | UserInterruptParams
    | UserToolConfirmationParams
    | UserCustomToolResultParams
    | UserToolResultParams
    | UserDefineOutcomeParams
    | SystemMessageParams,
    Field(discriminator="type"),
]


class UserMessage(Event):
    type: Literal["user.message"] = "user.message"
    content: Content


class UserInterrupt(Event):
    type: Literal["user.interrupt"] = "user.interrupt"
    session_thread_id: str | None = None


class UserToolConfirmation(Event):
    type: Literal["user.tool_confirmation"] = "user.tool_confirmation"
    tool_use_id: str
    result: Literal["allow", "deny"]
    deny_message: str | None = None
    session_thread_id: str | None = None


class UserCustomToolResult(Event):
    type: Literal["user.custom_tool_result"] = "user.custom_tool_result"
    custom_tool_use_id: str
    content: list[ResultBlock] | None = None
    is_error: bool | None = None
    session_thread_id: str | None = None


class UserToolResult(Event):
    """What a built-in tool gave on a worker's machine."""

    type: Literal["user.tool_result"] = "user.tool_result"
    tool_use_id: str
    content: list[ResultBlock] | None = None
    is_error: bool | None = None
    session_thread_id: str | None = None


class SystemMessage(Event):
    type: Literal["system.message"] = "system.message"
    content: SystemContent
