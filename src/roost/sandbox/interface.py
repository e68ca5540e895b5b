"""The hands: what the brain knows of a sandbox, and nothing more (sandbox.md section 2).

Error contract
--------------
A tool that fails is a result (`is_error=True`), never an exception. Exceptions speak of the sandbox itself:

* `SandboxLost`: the sandbox died under the call and its outcome is unknown. The call must not be silently run again.
* `SandboxUnavailable`: no sandbox could be had (no isolation on this machine, no disk, ...); `str()` names the remedy.
* `StaleEpoch`: a newer owner of the session has spoken to this sandbox; the caller must stop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

ToolName = Literal["bash", "read", "write", "edit", "glob", "grep"]
TOOL_NAMES: tuple[ToolName, ...] = ("bash", "read", "write", "edit", "glob", "grep")


class SandboxError(Exception):
    """Something about the sandbox, not about the tool."""


class SandboxLost(SandboxError):
    """The sandbox was lost under a call; whether the call took effect is unknown."""


class SandboxUnavailable(SandboxError):
    """No sandbox can be had; the message says why and what to do."""


class StaleEpoch(SandboxError):
    """A call with a lower epoch than one the sandbox has seen."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered: content blocks of the Messages shape (text, image, document)."""

    content: tuple[Mapping[str, Any], ...]
    is_error: bool = False

    @classmethod
    def text(cls, text: str, *, is_error: bool = False) -> ToolResult:
        return cls(({"type": "text", "text": text or "(no output)"},), is_error)


@dataclass(frozen=True, slots=True)
class Networking:
    """The environment's network rules. `limited` with no hosts lets nothing out."""

    type: Literal["unrestricted", "limited"] = "unrestricted"
    allowed_hosts: tuple[str, ...] = ()
    allow_package_managers: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the sandbox shows read-only."""

    mount_path: str
    """Absolute path inside, for example `/mnt/session/uploads/data.csv`."""
    source_path: str
    """Where its bytes lie on the host."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a session's sandbox must hold."""

    session_id: str
    networking: Networking = field(default_factory=Networking)
    uploads: tuple[Upload, ...] = ()


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a backend's sandboxes show what; these are the documented ones (behaviour/03 section 3.1)."""

    workspace: str = "/workspace"
    uploads: str = "/mnt/session/uploads"
    outputs: str = "/mnt/session/outputs"


@dataclass(frozen=True, slots=True)
class Capability:
    """What a backend gives on this machine, found by really starting it."""

    backend: str
    available: bool
    isolation: str
    """One line for people: what holds the sandbox in."""
    limits: tuple[str, ...] = ()
    """Which of memory, pids, cpu, disk and time are enforced, and how."""
    lacks: tuple[str, ...] = ()
    why_not: str = ""
    """When not available: the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A regular file below `/mnt/session/outputs`."""

    path: str
    """Relative to the outputs directory."""
    size_bytes: int
    modified_ns: int


class Egress(Protocol):
    """The way out of sandboxes: one listening unix socket for each, with the policy of its session behind it."""

    async def open(self, session_id: str, socket_path: Path, networking: Networking) -> None:
        """Listen at the path by these rules until `close`. Opening again replaces the rules.

        The socket must be usable for the owner of its folder. Its folder, not the socket, is shown in the sandbox, so a
        new socket at the same path serves a sandbox that is already running. Raises OSError.
        """
        ...

    async def close(self, session_id: str) -> None:
        """Stop listening and end what runs. Closing what is not open does nothing."""
        ...


class Sandbox(Protocol):
    """A live sandbox of one session."""

    @property
    def session_id(self) -> str: ...

    @property
    def spec(self) -> SandboxSpec:
        """What it was made for."""
        ...

    @property
    def renewed(self) -> bool:
        """Whether it took over the files of an earlier sandbox of the session, whose processes are gone."""
        ...

    @property
    def lost(self) -> bool:
        """Whether it is known to be gone; once true, always true."""
        ...

    async def execute(
        self, name: str, input: Mapping[str, Any], *, call_id: str, epoch: int, timeout_s: float
    ) -> ToolResult:
        """Run a tool once. The same `call_id` again attaches to the running call or returns the recorded result.

        `timeout_s` bounds the whole call, above the tool's own time-out; past it the call is cancelled and the result
        says so. Raises SandboxLost, StaleEpoch.
        """
        ...

    async def lookup(self, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        """What the ledger knows of a call. Raises SandboxLost when the sandbox is gone."""
        ...

    async def cancel(self, call_id: str, *, epoch: int) -> None:
        """Kill the call's process tree at once; its `execute` returns an error result. Unknown ids do nothing."""
        ...

    async def update(self, spec: SandboxSpec) -> bool:
        """Bring it in line with a changed spec without ending anything in it: network rules and uploads.

        False where that takes a new sandbox; nothing is changed then. Raises SandboxUnavailable for an upload that is
        gone or cannot be placed.
        """
        ...

    async def outputs(self) -> Sequence[OutputFile]: ...

    def read_output(self, path: str) -> AsyncIterator[bytes]:
        """The bytes of one output, read beneath the outputs directory whatever links lie there."""
        ...

    async def release(self) -> None:
        """Let go of it without ending anything in it; a later `attach` finds it as it is."""
        ...

    async def destroy(self, *, keep_files: bool) -> None:
        """End every process. `keep_files` leaves the workspace for a later sandbox of the same session."""
        ...


class Backend(Protocol):
    """A way to make sandboxes on this machine."""

    @property
    def paths(self) -> Paths: ...

    async def probe(self) -> Capability:
        """Start one, run a self-test in it, remember the answer."""
        ...

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, with the session's files where some are kept. Raises SandboxUnavailable."""
        ...

    async def attach(self, session_id: str) -> Sandbox | None:
        """The session's living sandbox after a restart of the server, or None."""
        ...

    async def forget(self, session_id: str) -> None:
        """End the session's sandbox, living or not, and remove its files."""
        ...

    async def living(self) -> Sequence[str]:
        """Session ids that have a sandbox, or kept files of one, on this machine; for the reaper."""
        ...

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        """As `Sandbox.outputs`, also where no sandbox lives any more."""
        ...

    def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        """As `Sandbox.read_output`, also where no sandbox lives any more. Raises FileNotFoundError."""
        ...

    async def aclose(self) -> None:
        """Let go of the machine; sandboxes live on."""
        ...
