"""What the scripted server answers: replies made of parts, played in order."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import orjson

_SECRET = b"the strict server signs what it says"


def signature_of(thinking: str) -> str:
    """The signature the server gives a thinking block, and demands back with the very same text."""
    return base64.b64encode(hmac.digest(_SECRET, thinking.encode(), "sha256")).decode()


def redacted_data_of(name: str) -> str:
    """Opaque data of a redacted thinking block: a name and its seal."""
    return f"{name}.{hmac.digest(_SECRET, name.encode(), 'sha256').hex()}"


def thinking_seal(thoughts: Sequence[Mapping[str, Any]]) -> str:
    """Twelve characters that stand for the thinking said before a tool call.

    The server puts them into the call's id, so that it can tell from a later request alone, without a memory of its
    own, whether that thinking came back with the call.
    """
    words = [thought.get("signature") or thought.get("data") or "" for thought in thoughts]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12] if words else "0" * 12


@dataclass(frozen=True)
class Hold:
    """Nothing is sent until the event is set; only within the process of the test."""

    until: asyncio.Event


@dataclass(frozen=True)
class Delay:
    """Nothing is sent for so long."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Nothing is sent any more, and the connection stays open until the client leaves."""


@dataclass(frozen=True)
class Broken:
    """The connection is cut."""


@dataclass(frozen=True)
class Ended:
    """The body ends in good order, but without `message_stop`."""


@dataclass(frozen=True)
class Ping:
    """A `ping` event."""


@dataclass(frozen=True)
class StreamError:
    """An `error` event; nothing follows it."""

    type: str
    message: str


Control = Hold | Delay | Stall | Broken | Ended | Ping | StreamError


@dataclass(frozen=True)
class Text:
    """A text block; each piece is a delta of its own, and controls may stand between them."""

    pieces: tuple[str | Control, ...]


@dataclass(frozen=True)
class Thinking:
    text: str
    signature: str = ""
    """Another signature than the right one."""


@dataclass(frozen=True)
class RedactedThinking:
    name: str


@dataclass(frozen=True)
class ToolUse:
    """A call; with `cut` its input ends in the middle, as when `max_tokens` is reached."""

    name: str
    input: Mapping[str, Any]
    id: str = ""
    cut: bool = False


@dataclass(frozen=True)
class ServerToolUse:
    """A call the provider runs itself; what a paused turn ends with."""

    name: str = "web_search"
    input: Mapping[str, Any] = field(default_factory=dict)


Part = Text | Thinking | RedactedThinking | ToolUse | ServerToolUse | Control


@dataclass(frozen=True)
class Reply:
    """A streamed reply. `usage` replaces counters the server would compute itself."""

    parts: tuple[Part, ...]
    stop_reason: str
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpError:
    """An answer without a stream."""

    status: int
    type: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    """Sent instead of the API's envelope."""


Answer = Reply | HttpError


def text(*pieces: str | Control) -> Text:
    """A text block. A single string is cut into a few deltas; several are the deltas themselves."""
    if len(pieces) == 1 and isinstance(pieces[0], str):
        whole = pieces[0]
        step = max(1, -(-len(whole) // 3))
        return Text(tuple(whole[at : at + step] for at in range(0, len(whole), step)))
    return Text(pieces)


def thinking(said: str, signature: str = "") -> Thinking:
    return Thinking(said, signature)


def redacted_thinking(name: str = "withheld") -> RedactedThinking:
    return RedactedThinking(name)


def tool_use(name: str, input: Mapping[str, Any], *, id: str = "", cut: bool = False) -> ToolUse:
    return ToolUse(name, input, id, cut)


def reply(
    *parts: Part | str,
    stop_reason: str | None = None,
    stop_details: Mapping[str, Any] | None = None,
    usage: Mapping[str, Any] | None = None,
) -> Reply:
    """A reply; a plain string is a text block.

    Without a stop reason it is `max_tokens` where a call is cut, else `tool_use` where there is one, else `end_turn`. A
    `pause_turn` ends with a server tool's call, as the API's do: only then may a request end with the model's words.
    """
    made = tuple(text(part) if isinstance(part, str) else part for part in parts)
    calls = [part for part in made if isinstance(part, ToolUse)]
    if stop_reason is None:
        stop_reason = "max_tokens" if any(call.cut for call in calls) else "tool_use" if calls else "end_turn"
    if stop_reason == "pause_turn" and not any(isinstance(part, ServerToolUse) for part in made):
        made = (*made, ServerToolUse())
    return Reply(made, stop_reason, stop_details, usage or {})


def error(
    status: int,
    type: str,
    message: str = "the script says so",
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
) -> HttpError:
    return HttpError(status, type, message, headers or {}, body)


# --- as a file -------------------------------------------------------------------------------------------------------

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Delay, Stall, Broken, Ended, Ping, StreamError),
        *(Text, Thinking, RedactedThinking, ToolUse, ServerToolUse, Reply, HttpError),
    )
}


def dump_answers(answers: Sequence[Answer]) -> bytes:
    """The answers as JSON, for a server in a process of its own. Raises TypeError for `Hold`, which cannot cross."""
    return orjson.dumps([_dumped(answer) for answer in answers])


def load_answers(data: bytes) -> list[Answer]:
    return [_loaded(entry) for entry in orjson.loads(data)]


def _dumped(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_dumped(item) for item in value]
    if isinstance(value, Hold):
        raise TypeError("a Hold waits for an event of this process and cannot be written to a file")
    if not is_dataclass(value) or isinstance(value, type):
        return value
    entries = {item.name: _dumped(getattr(value, item.name)) for item in fields(value)}
    return {"__kind__": type(value).__name__, **entries}


def _loaded(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_loaded(item) for item in value)
    if isinstance(value, dict) and value.get("__kind__") in _KINDS:
        return _KINDS[value["__kind__"]](**{name: _loaded(item) for name, item in value.items() if name != "__kind__"})
    return value
