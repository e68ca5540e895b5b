"""Programs that know no proxy: names resolve inside, and :80 and :443 lead out by the session's rules."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.proxy.egress import EgressProxy
from roost.proxy.route import Route
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import text
from roost.sandbox.interface import Networking, Sandbox, SandboxSpec
from roost.sandbox.toolhost.capture import Capture, answer_query
from tests.proxy.conftest import World
from tests.proxy.test_forwarding import Site
from tests.sandbox.plain import ROOT, as_plain_user, plain_home, plain_python

PUBLIC = "93.184.215.14"
BARE = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY -u all_proxy"
PYTHON = f"{BARE} python3 -c"
FETCH = """'
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], timeout=20); c.request("GET", "/x")
r = c.getresponse(); print(r.status, r.read().decode())'"""


@pytest.fixture
async def sandbox(tmp_path: Path, why_not: str) -> AsyncIterator[tuple[Sandbox, World]]:
    """A sandbox that may reach ok.test, behind the real proxy."""
    if why_not:
        pytest.skip(why_not)
    world = World(names={"ok.test": [PUBLIC]})
    egress = EgressProxy(
        Route(resolve=world.resolve, dial=world.dial), report=lambda _, passage: world.passages.put_nowait(passage)
    )
    backend = BubblewrapBackend(tmp_path / "state", egress=egress)
    try:
        yield await backend.provision(SandboxSpec("capture", Networking("limited", ("ok.test",)))), world
    finally:
        await backend.forget("capture")
        await backend.aclose()
        await egress.aclose()


async def said(sandbox: Sandbox, command: str, call_id: str = "c") -> str:
    return text(await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=1, timeout_s=60))


@pytest.mark.sandbox
async def test_an_allowed_host_is_reached_without_proxy_variables(sandbox: tuple[Sandbox, World]) -> None:
    box, world = sandbox
    site = Site()
    async with world.server(PUBLIC, 80, site):
        assert await said(box, f"{PYTHON} {FETCH} ok.test") == "200 hi"
    assert site.heads[0].startswith("GET /x HTTP/1.1\r\nHost: ok.test\r\n")
    passage = await world.passage()
    assert (passage.method, passage.host, passage.port, passage.decision) == ("CONNECT", "ok.test", 80, "allowed")


@pytest.mark.sandbox
async def test_a_refusal_is_a_403_that_names_the_host_on_80_and_an_end_on_443(sandbox: tuple[Sandbox, World]) -> None:
    box, world = sandbox
    refusal = await said(box, f"{PYTHON} {FETCH} no.test")
    assert refusal.startswith("403 ")
    assert "no.test" in refusal
    ended = "'import socket; print(socket.create_connection((\"no.test\", 443), 20).recv(9))'"
    assert await said(box, f"{PYTHON} {ended}", "d") == "b''"
    assert [(await world.passage()).decision for _ in range(2)] == ["refused", "refused"]
    assert world.resolved == []


@pytest.mark.sandbox
async def test_port_443_carries_any_bytes_both_ways(sandbox: tuple[Sandbox, World]) -> None:
    box, world = sandbox

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())

    program = """'
import socket
s = socket.create_connection(("ok.test", 443), 20); s.sendall(b"x" * 300000); s.shutdown(1)
got = b""
while more := s.recv(65536): got += more
print(len(got), set(got))'"""
    async with world.server(PUBLIC, 443, echo):
        assert await said(box, f"{PYTHON} {program}") == "300000 {120}"


@pytest.mark.sandbox
async def test_names_resolve_the_same_each_time_and_other_ports_lead_nowhere(sandbox: tuple[Sandbox, World]) -> None:
    box, _ = sandbox
    program = """'
import socket
one = socket.gethostbyname("A.test"); assert one == socket.gethostbyname("a.test") != socket.gethostbyname("b.test")
assert socket.gethostbyaddr(one)[0] == "a.test"
try: socket.create_connection((one, 22), 5)
except ConnectionRefusedError: print("refused")'"""
    assert await said(box, f"{PYTHON} {program}") == "refused"


@pytest.mark.sandbox
async def test_the_sandboxes_own_server_may_have_port_80(sandbox: tuple[Sandbox, World]) -> None:
    box, world = sandbox
    program = """'
import socket
outside = socket.gethostbyname("ok.test")
own = socket.create_server(("127.0.0.1", 80)); socket.create_connection(("127.0.0.1", 80), 5)
own.accept()[0].close(); print("own")'"""
    assert await said(box, f"{PYTHON} {program}") == "own"
    async with world.server(PUBLIC, 80, Site()):
        assert await said(box, f"{PYTHON} {FETCH} ok.test", "d") == "200 hi"


@pytest.mark.sandbox
async def test_a_server_on_every_address_does_not_get_what_is_meant_for_others(sandbox: tuple[Sandbox, World]) -> None:
    box, _ = sandbox
    program = """'
import socket
own = socket.create_server(("0.0.0.0", 80))
try: socket.gethostbyname("ok.test")
except socket.gaierror: print("does not resolve")'"""
    assert await said(box, f"{PYTHON} {program}") == "does not resolve"


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests already run as a plain user")
@pytest.mark.sandbox
def test_it_works_as_a_plain_user(why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    with plain_home() as home:
        tests = [str(Path(__file__)), "-k", "allowed_host", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
        ran = as_plain_user([plain_python(home), "-m", "pytest", *tests, "--basetemp", str(home / "t")], home)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "1 passed" in ran.stdout


# --- the resolver, message by message --------------------------------------------------------------------------------


def question(
    name: str, type_: int = 1, *, header: bytes = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
) -> bytes:
    labels = b"".join(bytes([len(label.encode())]) + label.encode() for label in name.split("."))
    return header + labels + b"\0" + type_.to_bytes(2, "big") + b"\0\1"


def ask(query: bytes) -> bytes | None:
    return answer_query(query, lambda name: "127.1.0.7", {"127.1.0.7": "a.test"}.get)


def test_a_name_has_one_address_record() -> None:
    assert ask(question("a.test")) == (
        b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0\1a\4test\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\1\0\7"
    )


@pytest.mark.parametrize("type_", [28, 15, 16, 65])
def test_other_types_are_empty_without_an_error(type_: int) -> None:
    answer = ask(question("a.test", type_))
    assert answer is not None
    assert (answer[3], answer[6:8]) == (0x80, b"\0\0")


def test_an_address_has_its_name_and_an_unknown_one_has_none() -> None:
    known, unknown = ask(question("7.0.1.127.in-addr.arpa", 12)), ask(question("8.0.1.127.in-addr.arpa", 12))
    assert known is not None
    assert known.endswith(b"\1a\4test\0")
    assert unknown is not None
    assert unknown[3] & 15 == 3


@pytest.mark.parametrize("name", ["a b.test", "a\r\nb.test", "a:1.test", "é.test"])
def test_a_name_that_is_no_host_name_does_not_exist(name: str) -> None:
    answer = ask(question(name))
    assert answer is not None
    assert answer[3] & 15 == 3


def test_whatever_is_no_question_is_dropped_and_never_an_error() -> None:
    good = question("a.test")
    assert [ask(good[:size]) for size in range(len(good))] == [None] * len(good)
    assert ask(good[:2] + b"\x81\x80" + good[4:]) is None
    assert ask(good[:12] + b"\xc0\x0c\0\1\0\1") is None
    assert ask(question(".".join(["a" * 60] * 5))) is None


def test_past_the_bound_the_name_asked_for_longest_ago_gives_up_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []

    def listener(address: str, port: int) -> socket.socket:
        made.append(socket.create_server(("127.0.0.1", 0)))
        return made[-1]

    monkeypatch.setattr("roost.sandbox.toolhost.capture._listener", listener)
    monkeypatch.setattr("roost.sandbox.toolhost.capture.NAMES_MAX", 3)
    capture = Capture("/nowhere")
    assert [capture.address_of(name) for name in ("a", "b", "c", "a")] == [f"127.1.0.{n}" for n in (1, 2, 3, 1)]
    assert capture.address_of("d") == "127.1.0.2"
    assert capture.name_of("127.1.0.2") == "d"
    assert len(made) == 2 * 3
    for one in made:
        one.close()
