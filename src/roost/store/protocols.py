"""What the rest of Roost knows of the store: five narrow protocols and one write seam.

Writing
-------
Everything is written through `Store.commit(batch)`. A `Batch` is a value: named statements with parameters, an optional
fence, and the topics to hint at once it is durable. Statements are built by the functions in `objects`, `sessions`,
`log` and `queue` beside this module; the SQL behind each name lives in the dialect's `queries.sql`. Waiting batches are
committed together, each in its own savepoint, so one that fails fails alone and leaves nothing half-written.

Reading
-------
Each protocol's reads go to the committed state. A hint says "look again"; data always comes from a read
(engine.md section 1, rule a).

Times are RFC 3339 text as made by `roost.core.clock.timestamp`: text order is time order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from roost.store.passages import EgressLog

if TYPE_CHECKING:
    from roost.store.work import Work

Row = tuple[Any, ...]
Status = Literal["idle", "running", "rescheduling", "terminated"]


class StoreError(Exception):
    """Something the store could not do."""


class Conflict(StoreError):
    """A statement touched another number of rows than it must; nothing of its batch was written.

    `query` names the statement, so that the caller can say what was in the way.
    """

    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.query = query


class Fenced(StoreError):
    """The batch's owner no longer owns the session; a newer epoch exists. The caller must stop at once."""


class StoreFull(StoreError):
    """The disk is full. Nothing of the batch was written; the server keeps answering reads."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One named statement. `rows`, when set, is the number of rows it must touch, else `Conflict`."""

    query: str
    parameters: Mapping[str, Any]
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of ownership: the epoch under which the writer claimed the session."""

    session_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A unit of writing: all of it or none of it."""

    statements: tuple[Statement, ...] = ()
    fence: Fence | None = None
    hints: tuple[str, ...] = ()

    def __add__(self, other: Batch) -> Batch:
        if self.fence and other.fence and self.fence != other.fence:
            raise ValueError("one batch has one fence")
        return Batch(
            self.statements + other.statements,
            self.fence or other.fence,
            tuple(dict.fromkeys(self.hints + other.hints)),
        )


# --- objects: agents, versions, environments, files, resources ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """A plain resource. `body` is its exact wire JSON; `private` never leaves the server."""

    workspace_id: str
    kind: str
    id: str
    created_at: str
    updated_at: str
    body: bytes
    parent_id: str | None = None
    number: int | None = None
    archived_at: str | None = None
    private: bytes | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: after this row of the list's order."""

    key: str | int
    id: str


@dataclass(frozen=True, slots=True)
class ObjectQuery:
    """One page of a list. Ordered by (created_at, id), or by number where `by_number`; newest first by default."""

    workspace_id: str
    kind: str
    parent_id: str | None = None
    include_archived: bool = False
    created: Mapping[str, str] = field(default_factory=dict)
    """Bounds by operator: `gt`, `gte`, `lt`, `lte` -> timestamp."""
    limit: int = 20
    after: Position | None = None
    descending: bool = True
    by_number: bool = False


class Objects(Protocol):
    async def get(self, workspace_id: str, kind: str, id: str) -> ObjectRow | None: ...

    async def numbered(self, workspace_id: str, kind: str, parent_id: str, number: int) -> ObjectRow | None:
        """The child with this number, for example version 2 of an agent."""
        ...

    async def many(self, workspace_id: str, kind: str, ids: Sequence[str]) -> list[ObjectRow]:
        """Those that exist, in the order asked."""
        ...

    async def list(self, query: ObjectQuery) -> list[ObjectRow]: ...

    async def expired(self, *, by: str, limit: int) -> Sequence[ObjectRow]:
        """Files of any workspace whose `expires_at` is not after a time, for the sweeper; the longest expired first."""
        ...

    async def content_in_use(self, names: Sequence[str], *, expired_by: str) -> set[str]:
        """Which of these blobs a session's resource refers to, or a file that is still valid after `expired_by`."""
        ...


# --- sessions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session's row: what is filtered, leased or counted has a column, the rest is JSON."""

    id: str
    workspace_id: str
    status: Status
    agent_id: str
    agent_version: int
    environment_id: str
    thread_id: str
    """The primary thread."""
    created_at: str
    updated_at: str
    body: bytes
    """JSON object: agent (the snapshot), title, metadata, resources, vault_ids."""
    usage: bytes
    """JSON object: token counters and `active_ms`, the closed running intervals."""
    running_since: str | None = None
    archived_at: str | None = None
    deployment_id: str | None = None
    epoch: int = 0
    owner: str | None = None
    lease_until: str | None = None
    wake_at: str | None = None
    wake_no: int = 0
    last_seq: int = 0
    last_ts: str = ""
    config_rev: int = 0


@dataclass(frozen=True, slots=True)
class SessionQuery:
    workspace_id: str
    agent_id: str | None = None
    agent_version: int | None = None
    deployment_id: str | None = None
    statuses: tuple[Status, ...] = ()
    created: Mapping[str, str] = field(default_factory=dict)
    include_archived: bool = False
    limit: int = 20
    after: Position | None = None
    descending: bool = True


class Sessions(Protocol):
    async def get(self, workspace_id: str, id: str) -> SessionRow | None: ...

    async def load(self, id: str) -> SessionRow | None:
        """By id alone, for the brain, which acts for whatever workspace owns the session."""
        ...

    async def list(self, query: SessionQuery) -> list[SessionRow]: ...

    async def ids(self) -> set[str]:
        """Every session there is, for the reaper."""
        ...

    async def using_environment(self, environment_id: str) -> bool: ...


# --- the log and the inputs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event about to be written. `head` is its wire JSON up to and including `"processed_at":`.

    The store puts the time in (clamped, so that it never runs backwards within a session) and closes the object, so the
    stored bytes are the wire's bytes. `answers` is the id of the call that this event answers; per session and type
    there is at most one answer to a call, by a unique index.
    """

    id: str
    type: str
    head: bytes
    thread_id: str | None = None
    answers: str | None = None
    private: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    seq: int
    id: str
    type: str
    ts: str
    data: bytes
    private: bytes | None = None


@dataclass(frozen=True, slots=True)
class QueuedInput:
    """An input as it was received. `seq` is None until the brain admits it; `data` has `processed_at` null."""

    n: int
    id: str
    type: str
    data: bytes
    seq: int | None = None
    thread_id: str | None = None
    answers: str | None = None

    def draft(self, *, private: bytes | None = None) -> EventDraft:
        """The event that admits this input: the same bytes, with a time where the null was."""
        return EventDraft(self.id, self.type, self.data.removesuffix(b"null}"), self.thread_id, self.answers, private)


class Log(Protocol):
    async def read(
        self,
        session_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = None,
        descending: bool = False,
        types: Sequence[str] = (),
        bounds: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> list[StoredEvent]:
        """Events with `after` < seq < `before`; `bounds` (`gt|gte|lt|lte` -> timestamp) compare with the time.

        The cost follows the number of rows returned, not the length of the log, when no `types` are given.
        `private` is filled only when asked for: only the brain asks.
        """
        ...

    async def find(self, session_id: str, ids: Sequence[str], *, private: bool = False) -> list[StoredEvent]: ...

    async def answered(self, session_id: str, ids: Sequence[str]) -> dict[tuple[str, str], bytes]:
        """(id, type of the answer) -> the answer, for those of `ids` that an event or a waiting input answers."""
        ...

    async def inputs(self, session_id: str, *, after: int = 0, waiting: bool = True) -> list[QueuedInput]:
        """Inputs with n beyond `after`, by n; only those not admitted yet when `waiting`.

        Who wants inputs and events reads the inputs first: one that is admitted in between is then seen twice under one
        id, and never missed.
        """
        ...

    async def last_input(self, session_id: str) -> int:
        """The n of the newest input, 0 where there is none: where a tail begins that attaches now."""
        ...


# --- the queue ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a session: until `lease_until`, and only with this epoch, its holder may write."""

    session_id: str
    workspace_id: str
    epoch: int
    wake_no: int
    lease_until: str


class Queue(Protocol):
    async def claim(self, owner: str, limit: int, *, now: str, lease_until: str) -> list[Claim]:
        """Take sessions whose `wake_at` has come and that nobody owns; raises each one's epoch by one."""
        ...

    async def renew(self, owner: str, claims: Sequence[Claim], *, lease_until: str) -> set[str]:
        """Extends the leases; returns the session ids that are no longer ours."""
        ...

    async def reap(self, *, now: str, alive: Sequence[str]) -> int:
        """Drops leases that ran out or whose owner is not among `alive`; returns how many."""
        ...

    async def next_wake(self) -> str | None:
        """The earliest `wake_at` of an unowned session."""
        ...

    async def owners(self, workspace_id: str | None) -> list[tuple[str, str, str]]:
        """(session id, owner, lease_until) of every leased session, for `roost ps`."""
        ...


# --- keys, idempotency ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key: only its hash is kept."""

    id: str
    workspace_id: str
    name: str
    created_at: str
    revoked_at: str | None = None
    environment_id: str | None = None
    """Set for the key of a self-hosted environment's workers, which reaches that environment only."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The recorded answer to a request with an `Idempotency-Key`."""

    body_hash: str
    status: int
    reply: bytes


class Keys(Protocol):
    async def find(self, key_hash: str) -> KeyRow | None:
        """The key in force with this hash; None for an unknown or a revoked one."""
        ...

    async def list(self, workspace_id: str) -> list[KeyRow]:
        """Oldest first, revoked ones too."""
        ...

    async def replay(self, workspace_id: str, key: str, path: str, *, since: str) -> Replay | None: ...


# --- blobs and hints ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that was stored: its SHA-256 in hex is its name."""

    sha256: str
    size_bytes: int


class Blobs(Protocol):
    async def put(self, chunks: AsyncIterator[bytes], *, limit_bytes: int) -> Blob:
        """Stores durably before it returns. Raises ValueError beyond `limit_bytes`, StoreFull on a full disk.

        The same content is stored once, so who deletes must know that nothing else refers to it. Storing it again
        renews its time.
        """
        ...

    def read(self, sha256: str, *, chunk_bytes: int = 1 << 16) -> AsyncIterator[bytes]:
        """Raises KeyError, before the first chunk, for an unknown name."""
        ...

    def path(self, sha256: str) -> str | None:
        """Where the bytes lie on this host, for read-only mounts; None where the store has no files.

        Whether they are there is not looked up.
        """
        ...

    def older(self, *, than: str) -> AsyncIterator[Sequence[str]]:
        """The names of what was last stored before a time, in portions that fit into memory."""
        ...

    async def delete(self, sha256: str, *, older_than: str) -> bool:
        """Deletes what was last stored before a time; says whether it did.

        The time and the deletion are one step: content that is stored again at the same moment stays.
        """
        ...


class Subscription(Protocol):
    """A place where hints of some topics arrive. Several hints may arrive as one."""

    async def wait(self, timeout_s: float | None = None) -> bool:
        """True when a hint came since the last wait, False when the time ran out."""
        ...

    def take(self) -> list[bytes]:
        """Payloads that arrived, oldest first; plain hints carry none. Bounded: the oldest are shed first."""
        ...


class Bus(Protocol):
    """Hints and previews; may lose, reorder and repeat. Nothing may depend on it for truth."""

    def publish(self, topic: str, payload: bytes = b"") -> None: ...

    def subscribe(self, *topics: str) -> AbstractAsyncContextManager[Subscription]: ...

    def listened(self, topic: str) -> bool:
        """Whether anybody in this process listens; saves the work of a preview nobody wants."""
        ...


WAKE_TOPIC = "wake"
"""Hinted at when a session wants a brain."""
REAP_TOPIC = "reap"
"""Hinted at when a session was deleted, so that its sandbox can go."""


def session_topic(session_id: str) -> str:
    """Hinted at when a session's log, inputs or row changed."""
    return f"session:{session_id}"


def input_topic(session_id: str) -> str:
    """Hinted at when a client gave the session something, so that a running brain looks up."""
    return f"inputs:{session_id}"


def preview_topic(session_id: str) -> str:
    """Carries `event_start` / `event_delta` frames; never stored."""
    return f"preview:{session_id}"


class Store(Protocol):
    """The only truth. One instance a process."""

    @property
    def objects(self) -> Objects: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def log(self) -> Log: ...
    @property
    def queue(self) -> Queue: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def egress(self) -> EgressLog: ...
    @property
    def work(self) -> Work: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def bus(self) -> Bus: ...

    async def commit(self, batch: Batch) -> list[list[Row]]:
        """Writes the batch durably, then publishes its hints. Returns what each statement returned.

        Raises Fenced, Conflict, StoreFull. A caller that is cancelled while it waits does not know the outcome: the
        write goes on.
        """
        ...

    async def close(self) -> None: ...
