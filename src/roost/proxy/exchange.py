"""One client connection of the egress proxy: requests one after another, or one tunnel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from roost.proxy.framing import (
    CHUNK_BYTES,
    BadMessage,
    Framing,
    Head,
    copy_body,
    encode_head,
    read_head,
    request_framing,
    response_framing,
)
from roost.proxy.route import Refused, Route, Streams, Unreachable, shut
from roost.proxy.rules import BadTarget, Rules, Target, parse_authority, parse_url

INTERIM_RESPONSES_MAX = 10
LINGER_S = 1


@dataclass
class Passage:
    """One request or tunnel and what became of it; reported once, when it has ended."""

    method: str
    host: str = ""
    port: int = 0
    decision: Literal["allowed", "refused", "failed"] = "refused"
    reason: str = ""
    sent_bytes: int = 0
    """From the sandbox; the body of a request, or everything in a tunnel."""
    received_bytes: int = 0
    duration_s: float = 0
    """From the end of the request's head on."""


@dataclass(frozen=True)
class Request:
    """A request that was understood."""

    head: Head
    target: Target
    path: str
    framing: Framing
    tunnel: bool

    @classmethod
    def parse(cls, head: Head) -> Request:
        """Raises BadTarget, BadMessage."""
        method, uri, version = head.start
        if version not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadMessage("only HTTP/1.0 and HTTP/1.1 are spoken here")
        framing = request_framing(head)
        if method != "CONNECT":
            return cls(head, *parse_url(uri), framing, tunnel=False)
        if framing != 0:
            raise BadMessage("CONNECT has no body")
        return cls(head, parse_authority(uri), "", framing, tunnel=True)

    @property
    def keeps_alive(self) -> bool:
        wish = self.head.members("connection") + self.head.members("proxy-connection")
        return "close" not in wish and (self.head.start[2] == "HTTP/1.1" or "keep-alive" in wish)


@dataclass
class Exchange:
    """Serves one connection from a sandbox until it ends; `report` hears of every passage."""

    client: Streams
    rules: Rules
    route: Route
    report: Callable[[Passage], None]
    head_timeout_s: float
    idle_timeout_s: float
    _answered: bool = field(default=False, init=False)

    async def serve(self) -> None:
        try:
            while await self._serve_one():
                self._answered = False
            await self._linger()
        except (OSError, TimeoutError):
            pass
        finally:
            await shut(self.client[1])

    async def _serve_one(self) -> bool:
        """Whether another request may follow."""
        passage = Passage("")
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        try:
            head = await self._next_head()
            began_s = now_s()
            if head is None:
                return False
            passage.method = head.start[0] if head.start[0].isalpha() else ""
            return await self._pass(Request.parse(head), passage)
        except (BadMessage, BadTarget) as error:
            return await self._refuse(passage, 400, str(error))
        except Refused as error:
            return await self._refuse(passage, 403, str(error))
        except (Unreachable, OSError, TimeoutError) as error:
            passage.decision = "failed"
            reason = "nothing moved for too long" if isinstance(error, TimeoutError) else str(error)
            return await self._refuse(passage, 502, reason)
        finally:
            if passage.method:
                passage.duration_s = now_s() - began_s
                self.report(passage)

    async def _next_head(self) -> Head | None:
        """None when the client ended, or said too little for too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.head_timeout_s):
                return await read_head(self.client[0])
        return None

    async def _pass(self, request: Request, passage: Passage) -> bool:
        passage.host, passage.port = request.target.host, request.target.port
        if not self.rules.allow(request.target.host):
            raise Refused(
                f"{request.target.host} is not among the environment's allowed hosts (networking.allowed_hosts)"
            )
        upstream = await self.route.open(request.target, tunnel=request.tunnel)
        passage.decision = "allowed"
        try:
            async with asyncio.timeout(self.idle_timeout_s) as idle:
                activity = _Activity(idle, self.idle_timeout_s, passage)
                if request.tunnel:
                    await self._tunnel(upstream, activity)
                    return False
                return await self._forward(request, upstream, activity)
        finally:
            await shut(upstream[1])

    async def _tunnel(self, upstream: Streams, activity: _Activity) -> None:
        """Bytes both ways. Each direction ends on its own, so a half-closed connection still carries the other."""
        self._answered = True
        self.client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(
            _pump(self.client[0], upstream[1], activity.sent),
            _pump(upstream[0], self.client[1], activity.received),
        )

    async def _forward(self, request: Request, upstream: Streams, activity: _Activity) -> bool:
        upstream[1].write(self._onward_head(request))
        sending = asyncio.create_task(self._send_body(request, upstream, activity))
        try:
            kept = await self._answer(request, upstream[0], activity)
            # A response before the request's end leaves the rest of its body on the line: no request can follow.
            return kept and sending.done() and sending.result()
        except BadMessage:
            raise Unreachable("the server's answer is not proper HTTP") from None
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    def _onward_head(self, request: Request) -> bytes:
        """The request as it goes on. Its Host is the URL's, whatever the client's said (RFC 9112 section 3.2.2)."""
        method, _, version = request.head.start
        kept = [(key, value) for key, value in request.head.end_to_end() if key.lower() != "host"]
        coding = [("Transfer-Encoding", "chunked")] if request.framing == "chunked" else []
        host = request.target.authority.removesuffix(":80")
        proxy = self.route.upstream
        uri = f"http://{host}{request.path}" if proxy else request.path
        own = [("Via", "1.1 roost"), ("Connection", "close"), *(proxy.authorization if proxy else ())]
        return encode_head(f"{method} {uri} {version}", [("Host", host), *kept, *coding, *own])

    async def _send_body(self, request: Request, upstream: Streams, activity: _Activity) -> bool:
        """Whether the whole body was sent."""
        try:
            await upstream[1].drain()
            await copy_body(self.client[0], upstream[1], request.framing, activity.sent)
        except OSError:
            # A server may answer and close before it has read everything: what it says then decides.
            return False
        except BadMessage:
            upstream[1].transport.abort()
            return False
        return True

    async def _answer(self, request: Request, upstream: asyncio.StreamReader, activity: _Activity) -> bool:
        for _ in range(INTERIM_RESPONSES_MAX):
            head = await read_head(upstream)
            if head is None:
                raise Unreachable("the server closed without an answer")
            if not head.start[0].startswith("HTTP/1.") or not head.start[1].isdigit() or head.start[1] == "101":
                raise BadMessage("not a status line")
            framing = response_framing(head, request.head.start[0])
            if framing == "chunked" and request.head.start[2] == "HTTP/1.0":
                raise BadMessage("chunks in an answer to HTTP/1.0")
            interim = head.start[1].startswith("1")
            kept = request.keeps_alive and framing != "close"
            coding = [("Transfer-Encoding", "chunked")] if framing == "chunked" else []
            own = [] if interim else [*coding, ("Connection", "keep-alive" if kept else "close")]
            self._answered = True
            self.client[1].write(encode_head(f"HTTP/1.1 {head.start[1]} {head.start[2]}", [*head.end_to_end(), *own]))
            if not interim:
                await copy_body(upstream, self.client[1], framing, activity.received)
                return kept
        raise BadMessage("too many interim responses")

    async def _refuse(self, passage: Passage, status: int, reason: str) -> Literal[False]:
        """Say why, in the status line too, since many programs show only that one for a refused CONNECT."""
        passage.reason = reason
        if not self._answered:
            body = f"roost: {reason}\n".encode()
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
            self.client[1].write(encode_head(f"HTTP/1.1 {status} {reason}", headers) + body)
            await self.client[1].drain()
        return False

    async def _linger(self) -> None:
        """Read what is still coming: closing over unread bytes would break the connection under the answer."""
        if self.client[0].at_eof():
            return
        self.client[1].write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self.client[0].read(CHUNK_BYTES):
                    pass


@dataclass
class _Activity:
    """Every byte either way puts off the idle time-out and is counted."""

    idle: asyncio.Timeout
    timeout_s: float
    passage: Passage

    def sent(self, size: int) -> None:
        self.passage.sent_bytes += size
        self._alive()

    def received(self, size: int) -> None:
        self.passage.received_bytes += size
        self._alive()

    def _alive(self) -> None:
        self.idle.reschedule(asyncio.get_running_loop().time() + self.timeout_s)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: Callable[[int], None]) -> None:
    """Copy until the reader's end and pass that end on. A broken connection breaks the other one, which ends both."""
    try:
        while piece := await reader.read(CHUNK_BYTES):
            moved(len(piece))
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
