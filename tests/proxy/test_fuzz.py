"""Whatever a sandbox sends, the proxy answers or closes, and asks for no name and no address that the rules refuse."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from roost.proxy.egress import EgressProxy
from roost.proxy.route import Route, shut
from roost.sandbox.interface import Networking
from tests.proxy.conftest import WAIT_S, World
from tests.proxy.test_forwarding import Site

PUBLIC = "93.184.215.14"
HOSTS = [
    "ok.test",
    "OK.test.",
    "no.test",
    "ok.test.no.test",
    "no.test#ok.test",
    "ok.test@no.test",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "169.254.169.254",
    "localhost",
    "*.test",
    "ok.test%00.no.test",
    "ok.test:80@no.test",
    "-.test",
]
PIECES = [
    *(b"GET", b"POST", b"CONNECT", b"OPTIONS", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"http://", b"https://", b"ftp://"),
    *(b"/", b"?", b"#", b":", b",", b";", b"@", b"80", b"443", b"0", b"65536", b"-1"),
    *(host.encode() for host in HOSTS),
    *(b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\r\n\r\n"),
    *(b"Host: ok.test\r\n", b"Content-Length: 5\r\n", b"Content-Length: 5, 6\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(
        b"Connection: close\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"hello",
        b"ffffffffff\r\n",
    ),
]
NOISE = st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=12).map(b"".join)
REQUEST = st.builds(
    lambda method, scheme, host, port, headers, rest: (
        f"{method} {scheme}{host}{port} HTTP/1.1\r\n".encode() + b"".join(headers) + b"\r\n" + rest
    ),
    st.sampled_from(["GET", "POST", "CONNECT"]),
    st.sampled_from(["", "http://", "HTTP://", "https://", "//"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":80", ":443", ":0", ":99999", "/", ":80/a"]),
    st.lists(st.sampled_from([piece for piece in PIECES if piece.endswith(b"\r\n")]), max_size=4),
    NOISE,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(REQUEST | NOISE, min_size=1, max_size=3).map(b"".join))
def test_nothing_that_is_sent_hangs_the_proxy_or_gets_past_the_rules(sent: bytes) -> None:
    world = asyncio.run(_sent(sent))
    assert set(world.resolved) <= {"ok.test"}
    assert {address for address, _ in world.dialled} <= {PUBLIC}


async def _sent(data: bytes) -> World:
    """The world after a sandbox sent this, ended its side, and read until the proxy closed."""
    world = World(names={"ok.test": [PUBLIC]})
    proxy = EgressProxy(Route(resolve=world.resolve, dial=world.dial))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "egress.sock")
        async with world.server(PUBLIC, 80, Site()), asyncio.timeout(WAIT_S):
            await proxy.open("sesn_1", path, Networking("limited", ("ok.test",)))
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(data)
            writer.write_eof()
            try:
                await reader.read()
            except ConnectionResetError:
                pass
            await shut(writer)
            await proxy.aclose()
    return world
