"""What a turn, a tool call and a first tool result cost through the whole server."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw

from benchmarks.measure import Finding, against, timed
from benchmarks.rig import Rig, plan
from roost.core.ids import new_id
from roost.providers.scripted import ScriptedProvider
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.fleet import Fleet
from roost.sandbox.interface import SandboxSpec
from roost.wire.messages import Message, ModelRequest

TURNS = 40
CALLS = 40
COMMITS_PER_TURN = 5
"""Input, claim, start of the request, reply, idle: what a text turn writes durably."""
EVENT = b'{"id":"sevt_01","type":"agent.message","content":"' + b"x" * 300 + b'","processed_at":"2026-01-01T00:00:00Z"}'
SAY_HELLO = plan([{"text": "hello"}])
BASH = {"tools": [{"name": "bash", "input": {"command": "true"}}]}


async def text_turn(rig: Rig) -> Finding:
    """A message to its idle event, against the same model and the same number of synced appends without a server."""

    async def ours() -> float:
        # A new session for each run: with a longer history the model, not the server, would take longer.
        async with rig.chat() as chat:

            async def turns() -> None:
                for _ in range(TURNS):
                    await chat.turn(SAY_HELLO)

            return await timed(turns) / TURNS

    async def floor() -> float:
        return await timed(lambda: _serverless(rig.folder / "floor.db", TURNS)) / TURNS

    return await against("text turn, net of the model", ours, floor, at_most=3)


async def _serverless(path: Path, turns: int) -> None:
    """The loop without a server: ask the model, append what it said."""
    connection = apsw.Connection(str(path))
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, data BLOB)")
    model, messages = ScriptedProvider(), (Message("user", ({"type": "text", "text": SAY_HELLO},)),)
    for _ in range(turns):
        async for _ in model.stream(ModelRequest("scripted", "", messages)):
            pass
        for _ in range(COMMITS_PER_TURN):
            connection.execute("INSERT INTO events (data) VALUES (?)", (EVENT,))
    connection.close()


@asynccontextmanager
async def hands(folder: Path) -> AsyncIterator[Fleet]:
    """The same sandboxes without a server: what the floors run in."""
    fleet = Fleet(BubblewrapBackend(folder / "floor"))
    try:
        yield fleet
    finally:
        for session in await fleet.living():
            await fleet.forget(session)
        await fleet.close()


async def bash_call(rig: Rig) -> Finding:
    """One `bash` call inside a turn, with its model request and its records, against the toolhost asked directly."""
    script = plan([*[BASH] * CALLS, {"text": "done"}])
    spec = SandboxSpec(new_id("sesn"))

    async with hands(rig.folder) as fleet:

        async def direct() -> None:
            for _ in range(CALLS):
                await fleet.execute(spec, call_id=new_id("sevt"), epoch=1, name="bash", input={"command": "true"})

        async def ours() -> float:
            async with rig.chat() as chat:
                await chat.turn(plan([BASH, {"text": "warm"}]))
                return await timed(lambda: chat.turn(script)) / CALLS

        async def floor() -> float:
            return await timed(direct) / CALLS

        return await against("bash call in a turn", ours, floor, at_most=3)


async def first_result(rig: Rig) -> Finding:
    """A new session to its first tool result, against plain bwrap that starts Python that starts bash."""
    script = plan([BASH, {"text": "done"}])
    command = [
        *("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
        *("--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        *("/usr/bin/python3", "-IS", "-c"),
    ]
    program = "import subprocess; subprocess.run(['/bin/bash', '-c', 'true'], check=True)"

    async def ours() -> float:
        async with rig.chat() as chat:
            return await timed(lambda: chat.turn(script, until="agent.tool_result"))

    async def floor() -> float:
        return await timed(lambda: asyncio.to_thread(subprocess.run, [*command, program], check=True, env={}))

    return await against("first tool result of a fresh session", ours, floor, at_most=2.5, runs=15)


async def many_sessions(rig: Rig, sessions: int = 200, calls: int = 5) -> list[Finding]:
    """Many sessions at once: from cold against a loop that starts the same sandboxes, then warm as a rate."""
    script = plan([*[BASH] * calls, {"text": "done"}])

    async def work(fleet: Fleet, name: str) -> None:
        for _ in range(calls):
            await fleet.execute(
                SandboxSpec(name), call_id=new_id("sevt"), epoch=1, name="bash", input={"command": "true"}
            )

    async with hands(rig.folder) as fleet:
        names = [new_id("sesn") for _ in range(sessions)]
        floor = await timed(lambda: asyncio.gather(*(work(fleet, name) for name in names)))
    made = await asyncio.gather(*(rig.session() for _ in range(sessions)))
    cold = await timed(lambda: asyncio.gather(*(_turn(rig, session, script) for session in made)))
    warm = await timed(lambda: asyncio.gather(*(_turn(rig, session, script) for session in made)))
    rate = sessions * calls / warm
    rss_mb = _rss_mb(rig.pid)
    return [
        Finding(f"{sessions} sessions x {calls} bash calls, warm", ">= 400/s", rate, "calls/s", rate >= 400),
        Finding(
            f"{sessions} sessions x {calls} bash calls, cold", "<= 1.3x", cold / floor, "x floor", cold / floor <= 1.3
        ),
        Finding(
            f"server RSS at {sessions} sessions",
            "<= 150 MB",
            rss_mb,
            "MB",
            rss_mb <= 150,
        ),
    ]


async def _turn(rig: Rig, session: str, script: str) -> None:
    async with rig.chat(session) as chat:
        await chat.turn(script)


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
