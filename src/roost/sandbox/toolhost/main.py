"""The first process of a sandbox: answers on the listening socket it was given, and buries orphans.

One request a line: `{"id", "op", ...}`; one answer a line with the same `id`: `{"id", "result"}`, or
`{"id", "error": "stale_epoch"}`. Operations: `hello`, `execute` (`call_id`, `epoch`, `name`, `input`), `lookup` and
`cancel` (`call_id`, `epoch`).
"""

from __future__ import annotations

import os
from _queue import SimpleQueue
from _socket import socket
from _thread import start_new_thread
from time import monotonic, sleep

from .calls import CANCELLED, Call, Ledger, Stale, text_result
from .frames import Connection, decode
from .processes import Children, hide_memory, tidy_fds
from .tools import Tools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EGRESS_SOCKET = "/run/roost/egress/proxy.sock"
_CALL_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_CALL_ID_MAX = 128


class Toolhost:
    """Requests in, answers out."""

    def __init__(self, children: Children) -> None:
        self._ledger = Ledger()
        self._tools = Tools(children)
        self._bash_calls: SimpleQueue[Any] = SimpleQueue()
        self._connections: set[Connection] = set()
        self._alone_since_s = monotonic()
        start_new_thread(self._serve_bash, ())

    def end_when_orphaned(self, orphan_ttl_s: float) -> None:
        """End, and the sandbox with it, when no server has been connected and no call has run for so long.

        A server that is only restarted comes back long before; one whose data folder was deleted never does.
        """
        while self._connections or self._ledger.running or monotonic() - self._alone_since_s < orphan_ttl_s:
            sleep(orphan_ttl_s / 10)
        os._exit(0)

    def serve(self, listener: socket) -> None:
        while True:
            fd, _ = listener._accept()  # type: ignore[attr-defined]
            connection = Connection(fd)
            self._connections.add(connection)
            try:
                start_new_thread(self._talk, (connection,))
            except RuntimeError:
                # The sandbox has no room for another thread. The server finds it gone, and the next one may get in.
                self._hang_up(connection)

    def _talk(self, connection: Connection) -> None:
        try:
            for line in connection.lines():
                self._answer(connection, decode(line))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            # Only the server speaks here; a peer that breaks the protocol is hung up on.
            pass
        self._hang_up(connection)

    def _hang_up(self, connection: Connection) -> None:
        connection.close()
        self._alone_since_s = monotonic()
        self._connections.discard(connection)

    def _answer(self, connection: Connection, request: dict[str, Any]) -> None:
        """Nothing is begun for a request that is not whole: what raises here must leave no call behind."""
        number = _whole_number(request["id"])

        def reply(result: Any) -> None:
            connection.send({"id": number, "result": result})

        try:
            if request["op"] == "hello":
                reply("ready")
            elif request["op"] == "execute":
                self._execute(request, reply)
            elif request["op"] == "lookup":
                call = self._ledger.find(_call_id(request), _whole_number(request["epoch"]))
                reply("unknown" if call is None else call.result or "running")
            elif request["op"] == "cancel":
                call = self._ledger.find(_call_id(request), _whole_number(request["epoch"]))
                if call and call.result is None:
                    call.cancel()
                reply("done")
            else:
                raise ValueError(request["op"])
        except Stale:
            connection.send({"id": number, "error": "stale_epoch"})

    def _execute(self, request: dict[str, Any], reply: Any) -> None:
        call_id, epoch = _call_id(request), _whole_number(request["epoch"])
        name, arguments = request["name"], request["input"]
        call = self._ledger.begin(call_id, epoch, reply)
        if call is None:
            return
        call.stop = lambda: self._ledger.finish(call, CANCELLED)
        if name == "bash":
            self._bash_calls.put((call, name, arguments))
            return
        try:
            start_new_thread(self._run, (call, name, arguments))
        except RuntimeError:
            full = "the sandbox has no room for another process; stop some (bash with restart stops all)"
            self._ledger.finish(call, text_result(full, is_error=True))

    def _serve_bash(self) -> None:
        """Bash calls share one shell: one after the other, in the order in which they came."""
        while True:
            self._run(*self._bash_calls.get())

    def _run(self, call: Call, name: str, input: Any) -> None:
        if call.result is None:
            self._ledger.finish(call, self._tools.run(call, name, input))


def _call_id(request: dict[str, Any]) -> str:
    call_id = request["call_id"]
    if type(call_id) is not str or not 0 < len(call_id) <= _CALL_ID_MAX or not _CALL_ID.issuperset(call_id):
        raise ValueError("call_id")
    return call_id


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _capture() -> None:
    from .capture import Capture

    try:
        Capture(EGRESS_SOCKET).serve()
    except OSError:
        # Low ports cannot be had here: names do not resolve, and the proxy of the variables is the only way out.
        return


def main(listen_fd_text: str, orphan_ttl_s: str) -> None:
    """Serve until killed, or without a server for `orphan_ttl_s`. The arguments are those of the command line."""
    listen_fd = int(listen_fd_text)
    tidy_fds(listen_fd)
    hide_memory()
    listener = socket(fileno=os.dup(listen_fd))
    os.close(listen_fd)
    quiet = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(quiet, fd)
    children = Children()
    toolhost = Toolhost(children)
    start_new_thread(toolhost.serve, (listener,))
    start_new_thread(toolhost.end_when_orphaned, (float(orphan_ttl_s),))
    if os.path.isdir(os.path.dirname(EGRESS_SOCKET)):
        from .bridge import serve

        start_new_thread(serve, (EGRESS_SOCKET,))
        start_new_thread(_capture, ())
    children.reap_forever()
