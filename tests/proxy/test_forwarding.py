"""Plain HTTP through the proxy: one request to one server, passed on clean."""

from __future__ import annotations

import asyncio

import pytest

from roost.proxy.framing import HEAD_BYTES_MAX
from roost.sandbox.interface import Networking
from tests.proxy.conftest import WAIT_S, Open, World

PUBLIC = "93.184.215.14"


class Site:
    """A server that keeps the head and body it was sent and answers with the bytes it was given."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", body_bytes: int = 0) -> None:
        self.answer = answer
        self.body_bytes = body_bytes
        self.heads: list[str] = []
        self.body = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        self.body = await reader.readexactly(self.body_bytes)
        writer.write(self.answer)
        await writer.drain()


async def test_a_request_reaches_the_checked_address_and_the_answer_comes_back(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    site = Site()
    async with world.server(PUBLIC, 80, site):
        answer = await (await sandbox()).ask(
            "GET http://ok.test/a?b=c HTTP/1.1", "Host: other.test", "Connection: close"
        )
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("\r\n\r\nhi")
    assert site.heads[0].startswith("GET /a?b=c HTTP/1.1\r\nHost: ok.test\r\n")
    assert "other.test" not in site.heads[0]
    assert world.dialled == [(PUBLIC, 80)]


async def test_a_connection_serves_several_requests_and_each_is_reported(world: World, sandbox: Open) -> None:
    world.names |= {"ok.test": [PUBLIC], "b.test": ["1.1.1.1"]}
    async with world.server(PUBLIC, 80, Site()), world.server("1.1.1.1", 8080, Site(b"HTTP/1.1 204\r\n\r\n")):
        client = await (await sandbox()).connect()
        await client.send("GET http://ok.test/ HTTP/1.1")
        assert "Connection: keep-alive" in await client.head()
        assert await client.exactly(2) == b"hi"
        await client.send("GET http://b.test:8080/ HTTP/1.1", "Connection: close")
        assert (await client.head()).startswith("HTTP/1.1 204 ")
        assert await client.rest() == b""
    passages = [await world.passage(), await world.passage()]
    assert [(p.host, p.port, p.decision, p.received_bytes) for p in passages] == [
        ("ok.test", 80, "allowed", 2),
        ("b.test", 8080, "allowed", 0),
    ]


async def test_headers_between_two_hops_are_not_passed_on(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    site = Site(b"HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-End: 2\r\nKeep-Alive: 1\r\n\r\nbye")
    async with world.server(PUBLIC, 80, site):
        answer = await (await sandbox()).ask(
            "GET http://ok.test/ HTTP/1.1", "Proxy-Authorization: Basic abc", "Connection: X-Secret, close",
            "X-Secret: 1", "TE: trailers", "Upgrade: websocket", "X-Kept: 1",
        )  # fmt: skip
    assert "X-Kept: 1" in site.heads[0]
    for header in ("Proxy-Auth", "X-Secret", "TE:", "Upgrade"):
        assert header not in site.heads[0]
    assert "X-End: 2" in answer
    assert "X-Hop" not in answer
    assert answer.endswith("bye")


@pytest.mark.parametrize(
    ("headers", "body", "arrives"),
    [
        (["Content-Length: 5"], b"hello", b"hello"),
        (
            ["Transfer-Encoding: chunked"],
            b"2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n",
            b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        ),
    ],
)
async def test_a_body_is_passed_on_by_its_declared_length(
    world: World, sandbox: Open, headers: list[str], body: bytes, arrives: bytes
) -> None:
    world.names["ok.test"] = [PUBLIC]
    site = Site(body_bytes=len(arrives))
    async with world.server(PUBLIC, 80, site):
        client = await (await sandbox()).connect()
        await client.send("POST http://ok.test/ HTTP/1.1", *headers, body=body)
        assert "Connection: keep-alive" in await client.head()
    assert site.body == arrives
    assert (await world.passage()).sent_bytes == 5


async def test_interim_answers_come_before_the_final_one(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    site = Site(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    async with world.server(PUBLIC, 80, site):
        answer = await (await sandbox()).ask(
            "GET http://ok.test/ HTTP/1.1", "Expect: 100-continue", "Connection: close"
        )
    assert answer.startswith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith("\r\n\r\n1\r\nx\r\n0\r\n\r\n")


async def test_an_answer_before_the_end_of_the_body_ends_the_connection(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 80, Site(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")):
        client = await (await sandbox()).connect()
        await client.send("POST http://ok.test/ HTTP/1.1", "Content-Length: 1000000", body=b"some")
        assert (await client.head()).startswith("HTTP/1.1 413 ")
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "lines",
    [
        ["GET http://ok.test/ HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"],
        ["GET http://ok.test/ HTTP/1.1", "Content-Length: 1", "Content-Length: 2"],
        ["GET http://ok.test/ HTTP/1.1", "Content-Length: +1"],
        ["GET http://ok.test/ HTTP/1.1", "Transfer-Encoding: gzip, chunked"],
        ["GET http://ok.test/ HTTP/1.1", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["GET http://ok.test/ HTTP/1.0", "Transfer-Encoding: chunked"],
        ["GET http://ok.test/ HTTP/1.1", "X: a", " folded: b"],
        ["GET http://ok.test/ HTTP/1.1", "Host : ok.test"],
        ["GET http://ok.test/ HTTP/1.1", "X: a\nHost: evil.test"],
        ["GET http://ok.test/ HTTP/1.1", "X: a\rHost: evil.test"],
        ["GET http://ok.test/ HTTP/1.1", "X: a\x00"],
        ["GET http://ok.test/ HTTP/1.1", "no colon"],
        ["GET http://ok.test/ HTTP/2"],
        ["GET http://ok.test/"],
        ["GET http://ok.test/ HTTP/1.1", *(f"X-{n}: 1" for n in range(101))],
        ["CONNECT ok.test:443 HTTP/1.1", "Content-Length: 3"],
        ["GET /only-a-path HTTP/1.1", "Host: ok.test"],
        ["GET https://ok.test/ HTTP/1.1"],
    ],
)
async def test_a_request_that_could_be_read_in_two_ways_is_refused(
    world: World, sandbox: Open, lines: list[str]
) -> None:
    world.names["ok.test"] = [PUBLIC]
    answer = await (await sandbox()).ask(*lines, body=b"abc")
    assert answer.startswith("HTTP/1.1 400 ")
    assert world.dialled == []


async def test_a_head_without_end_is_refused_at_its_size_limit(sandbox: Open) -> None:
    client = await (await sandbox()).connect()
    client.writer.write(b"GET http://ok.test/ HTTP/1.1\r\nX: " + b"a" * (2 * HEAD_BYTES_MAX))
    assert (await client.head()).startswith("HTTP/1.1 400 ")


async def test_a_head_that_trickles_in_is_cut_off(sandbox: Open) -> None:
    client = await (await sandbox(proxy={"head_timeout_s": 0.05})).connect()
    client.writer.write(b"GET http://ok.test/ HTTP/1.1\r\n")
    assert await client.rest() == b""


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"HTTP/1.1 100 Go on\r\n\r\n" * 11],
)  # fmt: skip
async def test_an_answer_that_is_not_proper_http_is_a_bad_gateway(world: World, sandbox: Open, answer: bytes) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 80, Site(answer)):
        seen = await (await sandbox()).ask("GET http://ok.test/ HTTP/1.1")
    assert seen.startswith(("HTTP/1.1 502 ", "HTTP/1.1 100 "))
    assert (await world.passage()).decision == "failed"


async def test_a_server_that_goes_silent_is_given_up(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with world.server(PUBLIC, 80, silent):
        answer = await (await sandbox(proxy={"idle_timeout_s": 0.05})).ask("GET http://ok.test/ HTTP/1.1")
    assert answer.startswith("HTTP/1.1 502 nothing moved for too long\r\n")


async def test_connections_beyond_the_limit_are_turned_away(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 80, Site()):
        door = await sandbox(proxy={"connections_max": 1})
        first = await door.connect()
        await first.send("GET http://ok.test/ HTTP/1.1")
        assert await first.head()
        second = await door.connect()
        assert (await second.rest()).startswith(b"HTTP/1.1 503 ")


async def test_closing_a_sandbox_ends_its_connections_and_removes_its_socket(world: World, sandbox: Open) -> None:
    door = await sandbox()
    client = await door.connect()
    await client.send("GET http://gone.test/ HTTP/1.1")
    async with asyncio.timeout(WAIT_S):
        await client.reader.readuntil(b"\r\n\r\n")
        await door.proxy.aclose()
        await client.rest()
    assert not door.path.exists()


async def test_opening_again_applies_the_new_rules_at_the_same_path(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 80, Site()):
        door = await sandbox(Networking(type="limited"))
        assert (await door.ask("GET http://ok.test/ HTTP/1.1")).startswith("HTTP/1.1 403 ")
        await door.proxy.open("sesn_1", door.path, Networking(type="limited", allowed_hosts=("ok.test",)))
        answer = await door.ask("GET http://ok.test/ HTTP/1.1", "Connection: close")
    assert answer.startswith("HTTP/1.1 200 ")


async def test_the_socket_of_a_sandbox_is_closed_to_other_users(sandbox: Open) -> None:
    door = await sandbox()
    assert door.path.stat().st_mode & 0o777 == 0o600
    assert door.path.stat().st_uid == door.path.parent.stat().st_uid
