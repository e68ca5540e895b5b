"""The server believes nothing a toolhost says: whatever is no honest answer ends the connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.sandbox import client
from roost.sandbox.client import Toolhost, connect, tool_result
from roost.sandbox.interface import SandboxLost, StaleEpoch

Answer = Callable[[int], bytes]


@asynccontextmanager
async def toolhost(answer: Answer) -> AsyncIterator[Toolhost]:
    """A toolhost that answers each request with whatever the test wants to be said."""
    ours, theirs = socket.socketpair()

    async def play() -> None:
        reader, writer = await asyncio.open_connection(sock=theirs)
        while line := await reader.readline():
            writer.write(answer(orjson.loads(line)["id"]))
        writer.close()

    playing = asyncio.create_task(play())
    connection = Toolhost(*await asyncio.open_unix_connection(sock=ours, limit=client.FRAME_LIMIT_BYTES))
    yield connection
    await connection.aclose()
    await playing


async def execute(connection: Toolhost, timeout_s: float = 10) -> object:
    return await connection.execute("bash", {}, call_id="c", epoch=1, timeout_s=timeout_s)


@pytest.mark.parametrize(
    "said",
    [
        b"not json\n",
        b"[]\n",
        b"null\n",
        b'{"result": 1}\n',
        b'{"id": 0}\n',
        b'{"id": 0, "result": null}\n',
        b'{"id": 0, "result": {"content": [], "is_error": false}}\n',
        b'{"id": 0, "result": {"content": [{"type": "text", "text": ""}], "is_error": false}}\n',
        b'{"id": 0, "result": {"content": [{"type": "text", "text": "x"}], "is_error": "no"}}\n',
        b'{"id": 0, "result": {"content": [{"type": "video", "source": {}}], "is_error": false}}\n',
        b'{"id": 0, "result": {"content": [{"type": "image", "source": '
        b'{"media_type": "image/png", "data": "no base64!"}}], "is_error": false}}\n',
        b'{"id": [], "result": 1}\n',
    ],
)
async def test_what_is_no_answer_loses_the_sandbox(said: bytes) -> None:
    async with toolhost(lambda _: said) as connection:
        with pytest.raises(SandboxLost):
            await execute(connection)


async def test_a_frame_over_the_limit_loses_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FRAME_LIMIT_BYTES", 1_000)
    async with toolhost(lambda _: b"x" * 10_000) as connection:
        with pytest.raises(SandboxLost):
            await execute(connection)
        assert connection.lost
        with pytest.raises(SandboxLost):
            await execute(connection)


async def test_answers_to_nobody_are_ignored_and_extra_fields_are_dropped() -> None:
    block = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}

    def answer(number: int) -> bytes:
        result = {"id": number, "result": {"content": [block], "is_error": False, "more": 1}}
        return b'{"id": 999, "result": 1}\n' + orjson.dumps(result) + b"\n"

    async with toolhost(answer) as connection:
        result = await connection.execute("bash", {}, call_id="c", epoch=1, timeout_s=10)
        assert result.content == ({"type": "text", "text": "hi"},)


async def test_a_stale_epoch_is_told() -> None:
    async with toolhost(lambda number: b'{"id": %d, "error": "stale_epoch"}\n' % number) as connection:
        with pytest.raises(StaleEpoch):
            await execute(connection)


async def test_a_toolhost_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CANCEL_GRACE_S", 0.01)
    done = b'{"id": 1, "result": "done"}\n'
    async with toolhost(lambda number: done if number == 1 else b"") as connection:
        result = await connection.execute("bash", {}, call_id="c", epoch=1, timeout_s=0.01)
        assert result.is_error
        assert result.content[0]["text"] == "tool 'bash' timed out"


async def test_nobody_there_is_a_lost_sandbox(tmp_path: Path) -> None:
    with pytest.raises(SandboxLost):
        await connect(tmp_path / "none.sock")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "is_error", "type", "text", "source", "data", "media_type"]), inner
        )
    ),
)


@given(json_values)
def test_any_value_is_a_result_or_a_loss(value: object) -> None:
    try:
        result = tool_result(value)
    except SandboxLost:
        return
    assert all(block["type"] in ("text", "image", "document") for block in result.content)
