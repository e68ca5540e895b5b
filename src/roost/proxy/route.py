"""The way out: a name is resolved once, every answer is checked, and a checked address is the one that is dialled.

So a name cannot answer a public address to the check and a private one to the connection (DNS rebinding), nor hide a
private address among public ones.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from roost.proxy import addresses
from roost.proxy.framing import HEAD_BYTES_MAX, encode_head, read_head
from roost.proxy.rules import Target

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve = Callable[[str], Awaitable[Sequence[str]]]
Dial = Callable[[str, int], Awaitable[Streams]]

_RESOLVERS = ThreadPoolExecutor(8, "resolve")
"""Of their own, so that slow names asked for in a sandbox hold up nothing else that runs in threads."""


class Refused(Exception):
    """The address rules forbid the target; the message says why and which setting would allow it."""


class Unreachable(Exception):
    """The target may be reached, but could not be."""


async def resolve(host: str) -> Sequence[str]:
    """Every address of a name, in the system's order of preference. Raises OSError."""
    loop = asyncio.get_running_loop()
    answers = await loop.run_in_executor(_RESOLVERS, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


async def dial(address: str, port: int) -> Streams:
    """A connection to that very address. Raises OSError."""
    return await asyncio.open_connection(address, port, limit=HEAD_BYTES_MAX)


@dataclass(frozen=True, slots=True)
class Upstream:
    """The operator's own proxy, which traffic goes through."""

    host: str
    port: int
    authorization: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, url: str) -> Upstream:
        """From `http://[user:password@]host:port`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port or parts.path.strip("/"):
            raise ValueError("an upstream proxy is given as http://host:port")
        if parts.username is None:
            return cls(parts.hostname, parts.port)
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        header = ("Proxy-Authorization", f"Basic {base64.b64encode(pair).decode()}")
        return cls(parts.hostname, parts.port, (header,))


class Route:
    """How to reach a target. Without an upstream proxy the checked address is dialled.

    With one, names are its to resolve: a name that resolves here to a forbidden address is refused, one that does not
    resolve here is passed on, and the operator's proxy has the last word on addresses.
    """

    def __init__(
        self,
        *,
        trusted_cidrs: Sequence[str] = (),
        upstream_proxy: str = "",
        resolve: Resolve = resolve,
        dial: Dial = dial,
        connect_timeout_s: float = 10,
    ) -> None:
        self.upstream = Upstream.parse(upstream_proxy) if upstream_proxy else None
        self._trusted = tuple(ipaddress.ip_network(cidr) for cidr in trusted_cidrs)
        self._resolve = resolve
        self._dial = dial
        self._connect_timeout_s = connect_timeout_s

    async def open(self, target: Target, *, tunnel: bool) -> Streams:
        """Streams that lead to the target, or, where `tunnel` is false, to whoever forwards requests to it.

        Raises Refused and Unreachable.
        """
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                answers = await self._checked(target)
                if self.upstream is None:
                    return await self._dial_first(answers, target.port)
                streams = await self._dial_first(await self._resolve(self.upstream.host), self.upstream.port)
                if tunnel:
                    await self._ask_upstream(streams, target, self.upstream)
                return streams
        except (OSError, TimeoutError) as error:
            reason = "timed out" if isinstance(error, TimeoutError) else error.strerror or "no connection"
            raise Unreachable(f"{target.authority} could not be reached: {reason}") from None

    async def _checked(self, target: Target) -> Sequence[str]:
        try:
            answers = [target.host] if target.is_address else await self._resolve(target.host)
        except OSError:
            if self.upstream is None:
                raise
            return []
        for answer in answers:
            if reason := addresses.refusal(answer, self._trusted):
                raise Refused(
                    f"{target.host} is {reason}, which sandboxes never reach"
                    f"{' (ROOST_TRUSTED_CIDRS opens private ranges)' if 'private' in reason else ''}"
                )
        return answers

    async def _dial_first(self, answers: Sequence[str], port: int) -> Streams:
        failure = OSError("no address")
        for answer in answers:
            try:
                return await self._dial(answer, port)
            except OSError as error:
                failure = error
        raise failure

    async def _ask_upstream(self, streams: Streams, target: Target, upstream: Upstream) -> None:
        reader, writer = streams
        headers = [("Host", target.authority), *upstream.authorization]
        writer.write(encode_head(f"CONNECT {target.authority} HTTP/1.1", headers))
        head = await read_head(reader)
        if head is None or not head.start[1].startswith("2"):
            await shut(writer)
            raise Unreachable(f"{target.authority} was refused by the upstream proxy")


async def shut(writer: asyncio.StreamWriter) -> None:
    """Close a connection whatever state it is in; a peer that does not read its last bytes is given five seconds."""
    writer.close()
    try:
        async with asyncio.timeout(5):
            await writer.wait_closed()
    except OSError as error:
        # A connection that is lost already has nothing to abort: Python 3.11.2 fails over the attempt.
        if isinstance(error, TimeoutError):
            writer.transport.abort()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
