"""What the brain needs from outside, as a protocol. The composition root plugs the real thing in.

Models come as `roost.wire.messages.ModelProvider`, the log and the files as `roost.store.protocols.Store`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, Protocol

from roost.sandbox.interface import OutputFile, SandboxSpec, ToolResult


class Hands(Protocol):
    """The sandboxes of this host, addressed by session. Errors as in `roost.sandbox.interface`."""

    async def execute(
        self, spec: SandboxSpec, *, call_id: str, epoch: int, name: str, input: Mapping[str, Any]
    ) -> ToolResult: ...

    async def lookup(
        self, session_id: str, call_id: str, *, epoch: int
    ) -> Literal["unknown", "running"] | ToolResult: ...

    async def cancel(self, session_id: str, call_id: str, *, epoch: int) -> None: ...

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        """What lies below `/mnt/session/outputs`; nothing where there is no sandbox."""
        ...

    def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        """Raises FileNotFoundError, before the first chunk, when the file is gone."""
        ...
