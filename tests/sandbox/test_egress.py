"""The one way out: bytes from 127.0.0.1:3128 inside reach the egress socket outside, and nothing else leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.client import short_address
from roost.sandbox.conformance import text
from roost.sandbox.interface import Networking, Sandbox, SandboxSpec

pytestmark = pytest.mark.sandbox

FETCH = "exec 7<>/dev/tcp/127.0.0.1/3128 && printf 'hello\\n' >&7 && cat <&7"


class Echo:
    """An egress that answers with what it was told and the rules of the session."""

    def __init__(self) -> None:
        self.servers: dict[str, asyncio.Server] = {}

    async def open(self, session_id: str, socket_path: Path, networking: Networking) -> None:
        await self.close(session_id)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline() + ",".join(networking.allowed_hosts).encode())
            writer.close()

        await asyncio.to_thread(socket_path.unlink, missing_ok=True)
        with short_address(socket_path) as address:
            self.servers[session_id] = await asyncio.start_unix_server(answer, address)
        await asyncio.to_thread(socket_path.chmod, 0o666)

    async def close(self, session_id: str) -> None:
        if server := self.servers.pop(session_id, None):
            server.close()


@pytest.fixture
async def backend(tmp_path: Path, why_not: str) -> AsyncIterator[BubblewrapBackend]:
    if why_not:
        pytest.skip(why_not)
    egress = Echo()
    backend = BubblewrapBackend(tmp_path / "state", egress=egress)
    yield backend
    await backend.forget("session")
    await backend.aclose()
    assert egress.servers == {}


async def said(sandbox: Sandbox, command: str, call_id: str = "c") -> str:
    return text(await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=1, timeout_s=60))


async def test_bytes_reach_the_egress_socket_with_the_rules_of_the_session(backend: BubblewrapBackend) -> None:
    spec = SandboxSpec("session", Networking("limited", ("a.test", "*.b.test")))
    sandbox = await backend.provision(spec)
    assert await said(sandbox, FETCH) == "hello\na.test,*.b.test"
    assert await said(sandbox, "echo $HTTPS_PROXY", "d") == "http://127.0.0.1:3128"
    await sandbox.release()


async def test_a_new_server_serves_a_sandbox_that_is_already_running(backend: BubblewrapBackend) -> None:
    sandbox = await backend.provision(SandboxSpec("session", Networking("limited", ("a.test",))))
    await said(sandbox, FETCH)
    await sandbox.release()
    found = await backend.attach("session")
    assert found is not None
    assert await said(found, FETCH, "again") == "hello\na.test"
    await found.release()


async def test_new_rules_hold_at_once_in_a_running_shell(backend: BubblewrapBackend) -> None:
    sandbox = await backend.provision(SandboxSpec("session", Networking("limited", ("a.test",))))
    assert await said(sandbox, f"kept=yes; ({FETCH})", "before") == "hello\na.test"
    assert await sandbox.update(SandboxSpec("session", Networking("limited", ("b.test",))))
    assert await said(sandbox, f"echo $kept; {FETCH}", "after") == "yes\nhello\nb.test"
    await sandbox.release()


async def test_without_an_egress_nothing_listens_inside(tmp_path: Path, why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state")
    sandbox = await backend.provision(SandboxSpec("session"))
    assert "Connection refused" in await said(sandbox, FETCH)
    assert await said(sandbox, "echo [$HTTPS_PROXY]; ls -A /run/roost", "d") == "[]\nlib"
    await sandbox.destroy(keep_files=False)
    await backend.aclose()
