"""CONNECT: bytes both ways, real TLS through it, and the operator's own proxy behind it."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from roost.sandbox.interface import Networking
from tests.proxy.conftest import WAIT_S, Open, World
from tests.proxy.test_forwarding import Site

PUBLIC = "93.184.215.14"
UPSTREAM = "10.9.9.9"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing before the other side has finished, then everything it heard."""
    writer.write(await reader.read())
    await writer.drain()


async def test_a_half_closed_tunnel_still_carries_the_other_direction(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    sent = b"x" * 300_000
    async with world.server(PUBLIC, 22, echo):
        client = await (await sandbox()).connect()
        await client.send("CONNECT ok.test:22 HTTP/1.1", "Host: ok.test:22")
        assert (await client.head()).startswith("HTTP/1.1 200 ")
        client.writer.write(sent)
        client.writer.write_eof()
        assert await client.rest() == sent
    passage = await world.passage()
    assert (passage.decision, passage.sent_bytes, passage.received_bytes) == ("allowed", len(sent), len(sent))


async def test_bytes_sent_together_with_connect_reach_the_server(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 443, echo):
        client = await (await sandbox()).connect()
        await client.send("CONNECT ok.test:443 HTTP/1.1", body=b"early")
        client.writer.write_eof()
        await client.head()
        assert await client.rest() == b"early"


async def test_a_tunnel_on_which_nothing_moves_is_ended(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]
    async with world.server(PUBLIC, 443, echo):
        client = await (await sandbox(proxy={"idle_timeout_s": 0.05})).connect()
        await client.send("CONNECT ok.test:443 HTTP/1.1")
        await client.head()
        assert await client.rest() == b""
    assert (await world.passage()).decision == "failed"


async def test_a_server_that_breaks_the_connection_ends_the_tunnel(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = [PUBLIC]

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with world.server(PUBLIC, 443, break_off):
        client = await (await sandbox()).connect()
        await client.send("CONNECT ok.test:443 HTTP/1.1", body=b"x")
        await client.head()
        assert await client.rest() == b""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate for a TLS server can be made")
    pem = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "1", "-subj", "/CN=ok.test", "-addext", "subjectAltName=DNS:ok.test", "-keyout", pem,
         "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_bytes(pem.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return pem


async def test_tls_passes_end_to_end_and_the_server_keeps_its_own_certificate(
    world: World, sandbox: Open, certificate: Path
) -> None:
    world.names["ok.test"] = [PUBLIC]
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    client_side = ssl.create_default_context(cafile=str(certificate))

    async def secret(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(server_side)
        writer.write(b"over tls: " + await reader.readline())
        await writer.drain()

    async with world.server(PUBLIC, 443, secret):
        client = await (await sandbox(Networking(type="limited", allowed_hosts=("ok.test",)))).connect()
        await client.send("CONNECT ok.test:443 HTTP/1.1")
        await client.head()
        async with asyncio.timeout(WAIT_S):
            await client.writer.start_tls(client_side, server_hostname="ok.test")
            client.writer.write(b"hello\n")
            assert await client.reader.readline() == b"over tls: hello\n"


class UpstreamProxy:
    """The operator's proxy: keeps what it was asked and answers as told, then echoes."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.head = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        await echo(reader, writer)


BEHIND = {"upstream_proxy": "http://user:p%40ss@proxy.test:3128"}


async def test_a_tunnel_goes_through_the_upstream_proxy_by_name(world: World, sandbox: Open) -> None:
    world.names["proxy.test"] = [UPSTREAM]
    proxy = UpstreamProxy()
    async with world.server(UPSTREAM, 3128, proxy):
        client = await (await sandbox(route=BEHIND)).connect()
        await client.send("CONNECT only-the-proxy-knows.test:443 HTTP/1.1", body=b"ping")
        client.writer.write_eof()
        await client.head()
        assert await client.rest() == b"ping"
    assert proxy.head.startswith("CONNECT only-the-proxy-knows.test:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in proxy.head


async def test_a_plain_request_goes_to_the_upstream_proxy_with_its_whole_url(world: World, sandbox: Open) -> None:
    world.names["proxy.test"] = [UPSTREAM]
    site = Site()
    async with world.server(UPSTREAM, 3128, site):
        answer = await (await sandbox(route=BEHIND)).ask("GET http://ok.test:8080/x HTTP/1.1", "Connection: close")
    assert answer.endswith("hi")
    assert site.heads[0].startswith("GET http://ok.test:8080/x HTTP/1.1\r\nHost: ok.test:8080\r\n")


async def test_a_refusal_of_the_upstream_proxy_is_a_bad_gateway(world: World, sandbox: Open) -> None:
    world.names["proxy.test"] = [UPSTREAM]
    async with world.server(UPSTREAM, 3128, UpstreamProxy("407 Who are you")):
        answer = await (await sandbox(route=BEHIND)).ask("CONNECT ok.test:443 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 502 ok.test:443 was refused by the upstream proxy")


async def test_a_private_name_is_refused_before_the_upstream_proxy_is_asked(world: World, sandbox: Open) -> None:
    world.names |= {"proxy.test": [UPSTREAM], "inside.test": ["10.0.0.1"]}
    answer = await (await sandbox(route=BEHIND)).ask("CONNECT inside.test:443 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 403 inside.test is ")
    assert world.dialled == []
