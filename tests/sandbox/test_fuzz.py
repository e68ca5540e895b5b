"""Both ends of the toolhost protocol against whatever may be said to them; the seeds make every try repeatable."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.sandbox.client import Toolhost, short_address
from roost.sandbox.conformance import MOMENT_S, Bench, text
from roost.sandbox.interface import SandboxLost, StaleEpoch, ToolResult
from roost.sandbox.toolhost.frames import FRAME_LIMIT_BYTES

TRIES = 150
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**63, 10**400, 1.5, float("inf"), "", "a", "\0", "\ud800", "x" * 70_000),
    *([], ["a"], {}, {"a": 1}, [[[[]]]], "../../etc", "call", "hello"),
)
FIELDS = ("id", "op", "call_id", "epoch", "name", "input")


def garbage(luck: random.Random, call_id: str) -> bytes:
    """A request with something wrong: a field missing or odd, bytes cut off, put in or turned round."""
    whole: dict[str, Any] = {
        "id": luck.randrange(100),
        "op": luck.choice(["hello", "execute", "lookup", "cancel"]),
        "call_id": call_id,
        "epoch": 1,
        "name": luck.choice(["bash", "read", "glob"]),
        "input": {"command": "echo ran >>/workspace/ran", "file_path": "/workspace/ran", "pattern": "*"},
    }
    for field in luck.sample(FIELDS, luck.randrange(1, 3)):
        if luck.random() < 0.3:
            del whole[field]
        else:
            whole[field] = luck.choice(ODD_VALUES) if field != "epoch" else luck.choice([None, "1", 1.0, [], True, -5])
    line = bytearray(json.dumps(whole).encode() + b"\n")
    for _ in range(luck.choice([0, 0, 1, 5])):
        line[luck.randrange(len(line))] = luck.randrange(256)
    if luck.random() < 0.2:
        del line[luck.randrange(len(line)) :]
    return bytes(line)


def connected(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    with short_address(path) as address:
        line.connect(address)
    line.settimeout(MOMENT_S)
    return line


def answered(line: socket.socket) -> bool:
    """Whether the toolhost is there: it answers a greeting on a connection of its own."""
    line.sendall(b'{"id": 7, "op": "hello"}\n')
    return line.recv(100) == b'{"id":7,"result":"ready"}\n'


@pytest.fixture
async def door(bench: Bench, tmp_path: Path) -> Path:
    """The socket of a living toolhost."""
    await bench.bash("echo once >>/workspace/count", call_id="known")
    return tmp_path / "state/sessions" / bench.spec.session_id / "toolhost.sock"


async def still_sound(bench: Bench) -> None:
    """It answers, its shell and its file tools work, and what had run was not run again."""
    assert await bench.bash("cat /workspace/count") == "once"
    assert text(await bench.call("bash", call_id="known", command="echo twice")) == "(no output)"
    assert "once" in text(await bench.call("read", file_path="/workspace/count"))


@pytest.mark.sandbox
@pytest.mark.parametrize("seed", range(4))
async def test_a_toolhost_outlives_any_request(seed: int, bench: Bench, door: Path) -> None:
    luck = random.Random(seed)

    def torment(closing: ExitStack) -> None:
        lines: list[socket.socket] = []
        for number in range(TRIES):
            if not lines or luck.random() < 0.5:
                lines.append(closing.enter_context(connected(door)))
            line = luck.choice(lines)
            try:
                line.sendall(garbage(luck, f"fuzz_{seed}_{number}"))
            except OSError:
                lines.remove(line)
                line.close()
            if len(lines) > 8:
                lines.pop(0).close()
        with connected(door) as line:
            assert answered(line)

    with ExitStack() as closing:
        await asyncio.to_thread(torment, closing)
    await still_sound(bench)


def unwhole() -> Iterator[bytes]:
    """Requests that must not begin anything: each lacks something or says it in a wrong kind."""
    whole = {"id": 1, "op": "execute", "call_id": "c", "epoch": 1, "name": "bash", "input": {"command": "echo >began"}}
    for field in FIELDS:
        yield json.dumps({name: value for name, value in whole.items() if name != field}).encode()
    for field, odd in (("id", "1"), ("id", 1.0), ("call_id", ["c"]), ("call_id", "a/b"), ("epoch", 1e400), ("op", [])):
        yield json.dumps(whole | {field: odd}).encode()
    nested = b"[" * 100_000 + b"]" * 100_000
    yield from (b"", b"null", b"[]", b'"execute"', b"\xff\xfe", b'{"id":1', nested, b'{"id":' + nested + b"}")


@pytest.mark.sandbox
async def test_a_request_that_is_not_whole_is_hung_up_on_and_begins_nothing(bench: Bench, door: Path) -> None:
    def refused(request: bytes) -> bool:
        with connected(door) as line:
            line.sendall(request + b"\n")
            return line.recv(100) == b""

    for request in unwhole():
        assert await asyncio.to_thread(refused, request), request[:100]
    assert await bench.bash("ls began 2>/dev/null; true") == "(no output)"
    await still_sound(bench)


@pytest.mark.sandbox
async def test_a_line_without_end_is_hung_up_on(bench: Bench, door: Path) -> None:
    def flood() -> None:
        with connected(door) as line, pytest.raises(OSError):
            line.sendall(bytes(2 * FRAME_LIMIT_BYTES))

    await asyncio.to_thread(flood)
    await still_sound(bench)


@pytest.mark.sandbox
async def test_a_call_asked_for_by_many_who_hang_up_runs_once(bench: Bench, door: Path) -> None:
    """Whoever waits for a call and however many of them go away, its one execution goes on."""
    ask = {"op": "execute", "call_id": "shared", "epoch": 1, "name": "bash", "input": {"command": "echo ran >>ran"}}

    def crowd() -> None:
        for number in range(50):
            with connected(door) as line:
                line.sendall(json.dumps({"id": number, **ask}).encode() + b"\n")
                if number % 3 == 0:
                    assert line.recv(1_000)

    await asyncio.to_thread(crowd)
    assert await bench.bash("cat ran") == "ran"
    await still_sound(bench)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "result", "error", "content", "is_error", "type", "text", "source", "data"]), inner
        )
    ),
    max_leaves=20,
)
answers = st.lists(
    st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode() + b"\n"), max_size=6
)


@settings(deadline=None, max_examples=200)
@given(answers)
def test_a_client_is_never_left_waiting_and_passes_on_only_what_a_tool_may_say(said: list[bytes]) -> None:
    """Whatever is said before the other end hangs up, every question is over, and results are well-formed."""
    outcomes = asyncio.run(questioned(said))
    for outcome in outcomes:
        assert isinstance(outcome, (ToolResult, SandboxLost, StaleEpoch, str)) or outcome is None, outcome
        if isinstance(outcome, ToolResult):
            assert all(type(block["text"]) is str and block["text"] for block in outcome.content)


async def questioned(said: list[bytes]) -> list[object]:
    ours, theirs = socket.socketpair()
    toolhost = Toolhost(*await asyncio.open_unix_connection(sock=ours))
    with theirs:
        questions = [
            asyncio.ensure_future(toolhost.execute("bash", {}, call_id="c", epoch=1, timeout_s=MOMENT_S)),
            asyncio.ensure_future(toolhost.lookup("c", epoch=1)),
            asyncio.ensure_future(toolhost.cancel("c", epoch=1)),
        ]
        await asyncio.sleep(0)
        theirs.sendall(b"".join(said))
    async with asyncio.timeout(MOMENT_S):
        outcomes: list[object] = list(await asyncio.gather(*questions, return_exceptions=True))
    await toolhost.aclose()
    return outcomes
