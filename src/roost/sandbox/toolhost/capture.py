"""The way out for programs that know no proxy: every name gets a loopback address on which :80 and :443 lead to it.

A resolver on 127.0.0.1:53 (UDP and TCP) answers each name with an address of 127.1.0.0/24; a connection to that
address becomes a CONNECT to the name through the policy proxy, which decides. On port 80 a refusal is what the program
reads, on 443 the connection ends. Other ports and protocols lead nowhere, and so do addresses written as numbers.

The listeners are made with the first question for a name and on its address only: the sandbox's own servers may have
127.0.0.1:80. Where one holds the port on every address (0.0.0.0), new names do not resolve (SERVFAIL).
"""

from __future__ import annotations

from _socket import AF_INET, AF_UNIX, SHUT_WR, SO_REUSEADDR, SOCK_DGRAM, SOCK_STREAM, SOL_SOCKET, socket
from _thread import allocate_lock, start_new_thread
from select import EPOLLIN, epoll
from time import sleep

from .bridge import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RESOLVER = ("127.0.0.1", 53)
PORTS = (80, 443)
NAMES_MAX = 250
"""So many names have an address at a time; past that the one that was asked for longest ago loses its own."""
_POOL = "127.1.0."
_REVERSE = ".0.1.127.in-addr.arpa"
_A, _PTR, _IN = 1, 12, 1
_NO_ERROR, _SERVER_FAILURE, _NO_SUCH_NAME = 0, 2, 3
_HEADER_BYTES = 12
_HEAD_BYTES_MAX = 1 << 15
_NAME_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_LINGER_S = 5


class Capture:
    """The resolver's table and the listeners of its addresses; `serve` runs until the sandbox ends."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._lock = allocate_lock()
        self._epoll = epoll()
        self._listeners: dict[int, socket] = {}

    def serve(self) -> None:
        """Raises OSError where the resolver's port cannot be had."""
        questions = socket(AF_INET, SOCK_DGRAM)
        questions.bind(RESOLVER)
        self._epoll.register(questions.fileno(), EPOLLIN)
        self._add(_listener(*RESOLVER))
        while True:
            for fd, _ in self._epoll.poll():
                try:
                    if fd == questions.fileno():
                        self._answer_datagram(questions)
                    else:
                        self._accept(self._listeners[fd])
                except (OSError, RuntimeError):
                    # No descriptor or no process to be had: the sandbox has spent its own.
                    sleep(0.1)

    def address_of(self, name: str) -> str | None:
        """The name's address, the same each time while it has one; None where its ports cannot be listened on."""
        with self._lock:
            address = self._addresses.pop(name, None)
            if address is None and len(self._names) < NAMES_MAX:
                address = f"{_POOL}{len(self._names) + 1}"
                try:
                    listeners = [_listener(address, port) for port in PORTS]
                except OSError:
                    return None
                for listener in listeners:
                    self._add(listener)
            elif address is None:
                address = self._addresses.pop(next(iter(self._addresses)))
            self._addresses[name] = address
            self._names[address] = name
            return address

    def name_of(self, address: str) -> str | None:
        return self._names.get(address)

    def _add(self, listener: socket) -> None:
        self._listeners[listener.fileno()] = listener
        self._epoll.register(listener.fileno(), EPOLLIN)

    def _answer_datagram(self, questions: socket) -> None:
        query, sender = questions.recvfrom(4096)
        if answer := answer_query(query, self.address_of, self.name_of):
            questions.sendto(answer, sender)

    def _accept(self, listener: socket) -> None:
        fd, _ = listener._accept()  # type: ignore[attr-defined]
        connection = socket(fileno=fd)
        address, port = listener.getsockname()
        if port == RESOLVER[1]:
            start_new_thread(self._answer_stream, (connection,))
        else:
            start_new_thread(self._lead_out, (connection, self._names[address], port))

    def _answer_stream(self, connection: socket) -> None:
        """DNS over TCP: each message with its length in two bytes before it."""
        connection.settimeout(_LINGER_S)
        try:
            while size := _exactly(connection, 2):
                query = _exactly(connection, int.from_bytes(size, "big"))
                answer = answer_query(query, self.address_of, self.name_of)
                if answer is None:
                    break
                connection.sendall(len(answer).to_bytes(2, "big") + answer)
        except OSError:
            pass
        connection.close()

    def _lead_out(self, inner: socket, name: str, port: int) -> None:
        outer = socket(AF_UNIX, SOCK_STREAM)
        try:
            outer.connect(self._socket_path)
            outer.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
            head, early = _read_head(outer)
            if head.split(b" ", 2)[1:2] == [b"200"]:
                inner.sendall(early)
                join(inner, outer)
                return
            if port == PORTS[0]:
                _refuse(inner, outer, head + early)
        except (OSError, RuntimeError):
            pass
        outer.close()
        inner.close()


def answer_query(
    query: bytes, address_of: Callable[[str], str | None], name_of: Callable[[str], str | None]
) -> bytes | None:
    """The answer to a DNS message (RFC 1035) with one question; None for whatever else it is.

    A and PTR have answers; every other type of any name is empty, which makes programs take the IPv4 address.
    """
    flags = query[2:4]
    if len(query) < _HEADER_BYTES or flags[0] & 0xF8 or query[4:6] != b"\0\1":
        return None
    name, end = _read_name(query)
    if name is None or len(query) < end + 4:
        return None
    type_, class_ = (int.from_bytes(query[at : at + 2], "big") for at in (end, end + 2))
    code, data = _NO_ERROR, b""
    if not name or not _NAME_BYTES.issuperset(name.encode()):
        code = _NO_SUCH_NAME
    elif class_ == _IN and type_ == _A:
        address = address_of(name)
        code = _NO_ERROR if address else _SERVER_FAILURE
        data = bytes(int(part) for part in address.split(".")) if address else b""
    elif class_ == _IN and type_ == _PTR:
        known = name_of(_POOL + name.removesuffix(_REVERSE)) if name.endswith(_REVERSE) else None
        code = _NO_ERROR if known else _NO_SUCH_NAME
        data = b"".join(bytes([len(label)]) + label.encode() for label in known.split(".")) + b"\0" if known else b""
    head = query[:2] + bytes([0x80 | (flags[0] & 1), 0x80 | code]) + b"\0\1" + (b"\0\1" if data else b"\0\0") + bytes(4)
    record = b"\xc0\x0c" + query[end : end + 4] + bytes(4) + len(data).to_bytes(2, "big") + data if data else b""
    return head + query[_HEADER_BYTES : end + 4] + record


def _read_name(query: bytes) -> tuple[str | None, int]:
    """The question's name in lower case, and where it ends; None where it is not one."""
    labels, at = [], _HEADER_BYTES
    while at < len(query) and (size := query[at]):
        label = query[at + 1 : at + 1 + size]
        if size > 63 or len(label) < size or b"." in label:
            return None, at
        labels.append(label.decode("latin-1").lower())
        at += 1 + size
    name = ".".join(labels)
    return (name, at + 1) if at < len(query) and len(name) <= 253 else (None, at)


def _listener(address: str, port: int) -> socket:
    listener = socket(AF_INET, SOCK_STREAM)
    try:
        listener.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _exactly(connection: socket, size: int) -> bytes:
    """So many bytes, or none at the end."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def _read_head(outer: Any) -> tuple[bytes, bytes]:
    """The proxy's answer up to its empty line, and what came after. Raises OSError where there is none."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = outer.recv(1 << 12)
        if not chunk or len(data) > _HEAD_BYTES_MAX:
            raise OSError("the proxy did not answer")
        data += chunk
    head, _, early = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", early


def _refuse(inner: socket, outer: socket, answer: bytes) -> None:
    """The proxy's refusal as the program's answer; its request is read first, or the close would reset the answer."""
    inner.settimeout(_LINGER_S)
    inner.recv(1 << 16)
    inner.sendall(answer)
    while chunk := outer.recv(1 << 12):
        inner.sendall(chunk)
    inner.shutdown(SHUT_WR)
    while inner.recv(1 << 16):
        pass
