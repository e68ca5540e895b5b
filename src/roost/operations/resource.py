"""The table's types: what an operation is, what it may answer, and how resources become endpoints.

An operation is a plain async function `(ctx, **path ids, body=..., query=...) -> Outcome`. It reads, checks, and says
what is to be written; it never writes by itself. The dispatcher commits a `Write` in one batch, so that nothing can be
half-written, and runs the operation again when what it had read has changed in the meantime.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from roost.core.clock import Clock, parse_timestamp, timestamp
from roost.operations.polling import Polling
from roost.store.protocols import Batch, Row, Store
from roost.wire.events.preview import DeltaType
from roost.wire.messages import ModelProvider

Results = Sequence[Sequence[Row]]
Rate = Literal["create", "read"]


@dataclass(frozen=True, slots=True)
class Context:
    """One request's view of the server: all that an operation may use."""

    store: Store
    clock: Clock
    models: ModelProvider
    workspace_id: str
    polling: Polling
    worker: bool = False
    """Called with a worker's credential, which may tell the session nothing but the results of tools."""
    doctor: Callable[[], Mapping[str, Any]] = dict
    """What the composition root knows of this machine; for the operator's table."""

    def now(self) -> str:
        return timestamp(self.clock.now())

    def after(self, moment: str) -> str:
        """Now, but later than `moment` in any case: the time of an update is also its lock against a concurrent one."""
        return max(self.now(), timestamp(parse_timestamp(moment) + timedelta(microseconds=1)))


# --- outcomes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """JSON, encoded already."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """A batch and what is answered once it is durable.

    `settle`, where given, makes the reply from what the batch returned, for what only the store knows.
    """

    batch: Batch
    reply: Reply
    settle: Callable[[Results], Reply] | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes that are streamed out."""

    chunks: AsyncIterator[bytes]
    size_bytes: int
    mime_type: str
    filename: str


@dataclass(frozen=True, slots=True)
class Live:
    """A session's events from now on, or from a place in its log on."""

    session_id: str
    deltas: frozenset[DeltaType] = frozenset()
    after: int | None = None
    """The sequence number to resume behind; None for what is emitted from now on."""
    ended: bool = False
    """Nothing will ever come."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrived: its bytes are stored, its name is as it was sent."""

    sha256: str
    size_bytes: int
    filename: str | None
    mime_type: str | None
    fields: Mapping[str, str]


Outcome = Reply | Write | Download | Live
Operation = Callable[..., Awaitable[Outcome]]


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One row of the table: a method and a path of the API. Without `run` it answers 501."""

    method: str
    path: str
    name: str
    """As the SDK calls it, for example `agents.create`."""
    run: Operation | None = None
    body: Any = None
    """The type of the JSON body; None where a body is ignored."""
    upload: bool = False
    """Takes multipart form data with one file instead of JSON."""
    query: Any = None
    reply: Any = None
    """The type of a success, for the OpenAPI document: a model, `bytes`, or "events"."""
    listed: bool = False
    """Answers a page of `reply`."""
    gate: str = ""
    """Family of `anthropic-beta` values without which the endpoint is not there; empty for none."""
    rate: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """What one of the six verbs of a resource does."""

    run: Operation
    body: Any = None
    query: Any = None
    reply: Any = None


_METHODS: Mapping[str, tuple[str, str]] = {
    "list": ("GET", ""),
    "create": ("POST", ""),
    "retrieve": ("GET", "/{id}"),
    "update": ("POST", "/{id}"),
    "delete": ("DELETE", "/{id}"),
    "archive": ("POST", "/{id}/archive"),
}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A thing with up to six verbs: list, create, retrieve, update, delete, archive.

    `verbs` names those the API has; `built` says what those that work do.
    """

    name: str
    path: str
    id: str
    verbs: str = "list create retrieve update archive"
    gate: str = ""
    model: Any = None
    built: Mapping[str, Verb] = field(default_factory=dict)
    creates_are_limited: bool = False
    """Whether creating one counts against the limit on creates (behaviour/07)."""

    def endpoints(self) -> list[Endpoint]:
        return [self._endpoint(verb) for verb in self.verbs.split()]

    def _endpoint(self, verb: str) -> Endpoint:
        method, suffix = _METHODS[verb]
        built = self.built.get(verb)
        limited = verb == "create" and self.creates_are_limited
        return Endpoint(
            method=method,
            path=self.path + suffix.replace("{id}", f"{{{self.id}}}"),
            name=f"{self.name}.{verb}",
            run=built.run if built else None,
            body=built.body if built else None,
            query=built.query if built else None,
            reply=(built.reply or self.model) if built else None,
            listed=verb == "list",
            gate=self.gate,
            rate="read" if method == "GET" else "create" if limited else None,
        )


def action(method: str, path: str, name: str, **rest: Any) -> Endpoint:
    """A call that is none of the six verbs."""
    rate: Rate | None = "read" if method == "GET" else None
    return Endpoint(method=method, path=path, name=name, **{"rate": rate} | rest)
