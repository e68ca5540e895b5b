"""The egress proxy: one unix socket for each sandbox, the only way out of its network namespace (sandbox.md section 6).

It speaks HTTP/1.1 with absolute URLs and CONNECT. `unrestricted` lets out to any public address on any port; `limited`
to the allowed hosts (`*.x` is the subdomains of x, not x) on any port, and to nothing where there are none. Private,
local and metadata addresses are refused in both, whatever name leads there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from roost.proxy.exchange import Exchange, Passage
from roost.proxy.framing import HEAD_BYTES_MAX
from roost.proxy.route import Route, Streams, shut
from roost.proxy.rules import Networking, Rules

Report = Callable[[str, Passage], None]


@dataclass
class _Door:
    """The socket of one sandbox and the connections that came through it."""

    path: Path
    server: asyncio.Server | None = None
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def close(self) -> None:
        if self.server is not None:
            self.server.close()
        for task in self.connections:
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)


class EgressProxy:
    """Opens and closes the way out of sandboxes; satisfies `roost.sandbox.interface.Egress`.

    Limits: 256 connections a sandbox, heads of 32 KiB and 100 lines that must arrive within `head_timeout_s`,
    connections on which nothing moves for `idle_timeout_s` end. `report(session_id, passage)` hears of each request
    and tunnel once, when it has ended.
    """

    def __init__(
        self,
        route: Route,
        *,
        package_hosts: Collection[str] = (),
        report: Report = lambda session_id, passage: None,
        connections_max: int = 256,
        head_timeout_s: float = 30,
        idle_timeout_s: float = 600,
    ) -> None:
        self._route = route
        self._package_hosts = package_hosts
        self._report = report
        self._connections_max = connections_max
        self._head_timeout_s = head_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._doors: dict[str, _Door] = {}

    async def open(self, session_id: str, socket_path: Path, networking: Networking) -> None:
        """Listen at the path by these rules. Opening again replaces path and rules and ends what ran under the old.

        The socket belongs to the owner of its folder, the sandbox's user, and to nobody else. Raises OSError.
        """
        await self.close(session_id)
        door = self._doors[session_id] = _Door(socket_path)
        rules = Rules(networking, self._package_hosts)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(session_id, door, rules, (reader, writer))

        door.server = await asyncio.start_unix_server(
            connected, sock=_listener(socket_path), limit=HEAD_BYTES_MAX, start_serving=False
        )
        # Known to `close` before this wait, in which the caller may be cancelled.
        await door.server.start_serving()

    async def close(self, session_id: str) -> None:
        """Stop listening, end every connection, remove the socket. Closing what is not open does nothing."""
        door = self._doors.pop(session_id, None)
        if door is not None:
            await door.close()

    async def aclose(self) -> None:
        """Close everything."""
        for session_id in list(self._doors):
            await self.close(session_id)

    async def _serve(self, session_id: str, door: _Door, rules: Rules, client: Streams) -> None:
        task = asyncio.current_task()
        if task is None or len(door.connections) >= self._connections_max:
            client[1].write(b"HTTP/1.1 503 Too many connections\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await shut(client[1])
            return
        door.connections.add(task)
        exchange = Exchange(
            client,
            rules,
            self._route,
            lambda passage: self._report(session_id, passage),
            self._head_timeout_s,
            self._idle_timeout_s,
        )
        try:
            # Cancelled only by `close`, which awaits it: nothing above needs to hear of it.
            with contextlib.suppress(asyncio.CancelledError):
                await exchange.serve()
        finally:
            door.connections.discard(task)


def _listener(path: Path) -> socket.socket:
    """A unix socket at a path of any length: the kernel's limit of 108 bytes is met through the folder's descriptor."""
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        owner = os.fstat(folder)
        os.chown(path, owner.st_uid, owner.st_gid)
        path.chmod(0o600)
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener
