"""What clients send to a session: checked as a whole before anything is written (behaviour/02 section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from roost.operations.resource import Context
from roost.store.protocols import EventDraft, SessionRow, StoredEvent
from roost.store.statements import draft
from roost.wire.errors import ApiError, invalid
from roost.wire.events.content import DocumentBlock, FileSource, ImageBlock
from roost.wire.events.user import (
    SendParams,
    SystemMessage,
    SystemMessageParams,
    UserCustomToolResult,
    UserCustomToolResultParams,
    UserDefineOutcomeParams,
    UserInterrupt,
    UserInterruptParams,
    UserMessage,
    UserMessageParams,
    UserToolConfirmation,
    UserToolConfirmationParams,
    UserToolResult,
    UserToolResultParams,
)
from roost.wire.files import FileMetadata
from roost.wire.sessions import InitialEvent

FILE_BLOCKS_MAX = 100
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_DOCUMENTS = ("application/pdf", "application/json")


async def checked_initial(ctx: Context, events: Sequence[InitialEvent]) -> list[EventDraft]:
    """The inputs that a session begins with. Raises ApiError that names the entry at fault."""
    await _check_files(ctx, "initial_events", events)
    return [_stored(f"initial_events.{place}", event) for place, event in enumerate(events)]


async def checked(ctx: Context, row: SessionRow, events: Sequence[SendParams]) -> list[EventDraft | bytes]:
    """The events as they are to be stored, in the order sent. Raises ApiError for the first at fault.

    An answer that was given before, to the letter, is not at fault: a client whose reply got lost sends it again. In
    its place stands the stored event.
    """
    await _check_system(ctx, row, events)
    await _check_files(ctx, "events", events)
    for place, event in enumerate(events):
        if isinstance(event, UserInterruptParams) and event.session_thread_id not in (None, row.thread_id):
            raise invalid(f"events.{place}.session_thread_id: names no thread of this session")
        if isinstance(event, UserToolResultParams) and not orjson.loads(row.body).get("self_hosted"):
            raise invalid(f"events.{place}.type: 'user.tool_result' is only for sessions on self_hosted environments")
    drafts = [_stored(f"events.{place}", event) for place, event in enumerate(events)]
    repeated = await _check_answers(ctx, row, events, drafts)
    return [repeated.get(place, draft) for place, draft in enumerate(drafts)]


def _stored(where: str, event: SendParams) -> EventDraft:
    """The event as it is stored."""
    match event:
        case UserMessageParams():
            return draft(UserMessage(content=event.content))
        case UserInterruptParams():
            return draft(UserInterrupt(session_thread_id=event.session_thread_id))
        case UserToolConfirmationParams():
            if event.deny_message is not None and event.result != "deny":
                raise invalid(f"{where}.deny_message: only together with the result 'deny'")
            stored = UserToolConfirmation(**event.model_dump(exclude={"type"}))
            return draft(stored, answers=event.tool_use_id)
        case UserCustomToolResultParams():
            result = UserCustomToolResult(
                custom_tool_use_id=event.custom_tool_use_id, content=event.content, is_error=event.is_error
            )
            return draft(result, answers=event.custom_tool_use_id)
        case SystemMessageParams():
            return draft(SystemMessage(content=event.content))
        case UserToolResultParams():
            ran = UserToolResult(tool_use_id=event.tool_use_id, content=event.content, is_error=event.is_error)
            return draft(ran, answers=event.tool_use_id)
        case UserDefineOutcomeParams():
            raise invalid(f"{where}.type: this server does not support 'user.define_outcome' yet")


# --- answers ---------------------------------------------------------------------------------------------------------


def _answered_call(event: SendParams) -> tuple[str, str] | None:
    """(field, id) of the call that an event answers."""
    match event:
        case UserToolConfirmationParams() | UserToolResultParams():
            return "tool_use_id", event.tool_use_id
        case UserCustomToolResultParams():
            return "custom_tool_use_id", event.custom_tool_use_id
    return None


async def _check_answers(
    ctx: Context, row: SessionRow, events: Sequence[SendParams], drafts: Sequence[EventDraft]
) -> Mapping[int, bytes]:
    """The answers that repeat an earlier one, by their place. Raises ApiError for one that contradicts it."""
    answers = {place: named for place, event in enumerate(events) if (named := _answered_call(event))}
    if not answers:
        return {}
    ids = [call_id for _, call_id in answers.values()]
    calls = {event.id: event for event in await ctx.store.log.find(row.id, ids)}
    earlier = await ctx.store.log.answered(row.id, ids)
    answered = set(earlier)
    repeated = {}
    for place, (field, call_id) in answers.items():
        where, kind = f"events.{place}.{field}", drafts[place].type
        call = _call(where, field, calls.get(call_id))
        if kind == "user.tool_confirmation" and call.get("evaluated_permission") != "ask":
            raise invalid(f"{where}: this call does not await approval")
        known = earlier.get((call_id, kind))
        if known is not None and _content(known) == _content(drafts[place].head + b"null}"):
            repeated[place] = known
        elif any(call_id == other and type_ in _CLOSED_BY[kind] for other, type_ in answered):
            raise invalid(f"{where}: the call {call_id} is already answered")
        elif kind == "user.tool_result":
            _check_approved(where, call, earlier.get((call_id, "user.tool_confirmation")))
        answered.add((call_id, kind))
    return repeated


_RESULTS = ("agent.tool_result", "user.tool_result", "user.custom_tool_result")
_CLOSED_BY: Mapping[str, Sequence[str]] = {
    "user.tool_confirmation": ("user.tool_confirmation", *_RESULTS),
    "user.tool_result": _RESULTS,
    "user.custom_tool_result": _RESULTS,
}
"""Type of an answer -> those after which it comes too late; the result of a worker comes after an approval."""


def _content(event: bytes) -> Mapping[str, Any]:
    """What an event says, without what the server gave it."""
    return {name: value for name, value in orjson.loads(event).items() if name not in ("id", "processed_at")}


def _call(where: str, field: str, call: StoredEvent | None) -> Mapping[str, Any]:
    """The call that is answered. Raises ApiError where the id names none of the kind."""
    wanted = "agent.tool_use" if field == "tool_use_id" else "agent.custom_tool_use"
    if call is None or call.type != wanted:
        raise invalid(f"{where}: names no {wanted} event of this session")
    data: Mapping[str, Any] = orjson.loads(call.data)
    return data


def _check_approved(where: str, call: Mapping[str, Any], confirmation: bytes | None) -> None:
    """A worker's result is for a call that may run: allowed by its policy, or by a confirmation."""
    permission = call.get("evaluated_permission")
    decision = orjson.loads(confirmation)["result"] if confirmation else None
    if permission == "ask" and decision is None:
        raise invalid(f"{where}: this call awaits approval by a user.tool_confirmation")
    if "deny" in (permission, decision):
        raise invalid(f"{where}: this call was denied and must not run")


# --- system messages -------------------------------------------------------------------------------------------------


async def _check_system(ctx: Context, row: SessionRow, events: Sequence[SendParams]) -> None:
    places = [place for place, event in enumerate(events) if isinstance(event, SystemMessageParams)]
    if not places:
        return
    where = f"events.{places[0]}"
    if places != [len(events) - 1]:
        raise invalid(f"{where}: at most one system.message in a request, and it must be the last event")
    before = events[-2] if len(events) > 1 else None
    if not isinstance(before, UserMessageParams | UserToolResultParams | UserCustomToolResultParams):
        raise invalid(f"{where}: a system.message must directly follow the user.message or tool result it goes with")
    if isinstance(before, UserMessageParams) and await _awaits_action(ctx, row):
        raise invalid(f"{where}: while the session requires action, a system.message must follow a tool result")
    model = orjson.loads(row.body)["agent"]["model"]["id"]
    if not (await ctx.models.limits(model)).mid_conversation_system:
        raise invalid(
            f"{where}: the model {model} takes no system messages inside a conversation",
            code="model_does_not_support_mid_conversation_system",
        )


async def _awaits_action(ctx: Context, row: SessionRow) -> bool:
    if row.status != "idle":
        return False
    last = await ctx.store.log.read(row.id, types=["session.status_idle"], descending=True, limit=1)
    return bool(last) and orjson.loads(last[0].data)["stop_reason"]["type"] == "requires_action"


# --- files -----------------------------------------------------------------------------------------------------------


def _file_blocks(name: str, events: Sequence[Any]) -> Iterator[tuple[str, ImageBlock | DocumentBlock, str]]:
    """(where, block, file id) of every block that refers to a file."""
    for place, event in enumerate(events):
        for number, block in enumerate(getattr(event, "content", None) or ()):
            if isinstance(block, ImageBlock | DocumentBlock) and isinstance(block.source, FileSource):
                yield f"{name}.{place}.content.{number}.source.file_id", block, block.source.file_id


async def _check_files(ctx: Context, name: str, events: Sequence[Any]) -> None:
    blocks = list(_file_blocks(name, events))
    if len(blocks) > FILE_BLOCKS_MAX:
        raise invalid(f"{name}: {len(blocks)} blocks refer to files; at most {FILE_BLOCKS_MAX} are allowed")
    if not blocks:
        return
    rows = await ctx.store.objects.many(ctx.workspace_id, "file", list({file_id for _, _, file_id in blocks}))
    files = {row.id: FileMetadata.model_validate_json(row.body) for row in rows}
    for where, block, file_id in blocks:
        _check_file(where, block, file_id, files, ctx.now())


def _check_file(where: str, block: Any, file_id: str, files: Mapping[str, FileMetadata], now: str) -> None:
    file = files.get(file_id)
    if file is None or (file.expires_at and file.expires_at <= now):
        raise ApiError(400, f"{where}: there is no file with the id {file_id!r}")
    if isinstance(block, ImageBlock):
        fits, wanted = file.mime_type in _IMAGES, "an image (JPEG, PNG, GIF or WebP)"
    else:
        fits, wanted = file.mime_type in _DOCUMENTS or file.mime_type.startswith("text/"), "a PDF or text"
    if not fits:
        raise invalid(f"{where}: the file is {file.mime_type}; this block needs {wanted}")
