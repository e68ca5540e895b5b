"""What the sandboxes themselves cost, without a server: starts, calls, memory, and coming back after a kill."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.measure import Finding, timed
from roost.core.ids import new_id
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import Sandbox, SandboxSpec
from roost.sandbox.keeper import living_keeper

STARTS = 30
CALLS = 500
SHELLS, CALLS_EACH = 8, 300
MANY = 100
KILLS = 10
PLAIN = (
    *("bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/usr/bin/python3", "-IS", "-c"),
    "import subprocess; subprocess.run(['/bin/bash', '-c', 'true'], check=True)",
)
"""The floor of a start: bubblewrap, Python and bash, without limits, a toolhost or a way out."""
SERVER = """\
import asyncio, sys
from pathlib import Path
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import SandboxSpec

async def main():
    sandbox = await BubblewrapBackend(Path(sys.argv[1])).provision(SandboxSpec(sys.argv[2]))
    command = {"command": "echo once >>count; while [ ! -e go ]; do read -t 0.001 <> <(:); done; cat count"}
    await sandbox.execute("bash", command, call_id="call", epoch=1, timeout_s=60)

asyncio.run(main())
"""
_numbers = count()


async def all_of_them(folder: Path) -> AsyncIterator[Finding]:
    async with backend_in(folder) as backend:
        for finding in await first_result(backend):
            yield finding
        for finding in await call_overhead(backend):
            yield finding
        yield await many_shells(backend)
        yield await idle_memory(backend, folder)
        yield await many_starts(backend)
        yield await again_after_a_kill(backend, folder)
        yield await again_after_a_kill_of_the_server(backend, folder)


@asynccontextmanager
async def backend_in(folder: Path) -> AsyncIterator[BubblewrapBackend]:
    backend = BubblewrapBackend(folder)
    try:
        yield backend
    finally:
        for session in await backend.living():
            await backend.forget(session)
        await backend.aclose()


async def started(backend: BubblewrapBackend, kept: AsyncExitStack) -> Sandbox:
    """A new sandbox that has run a command; it ends with the stack."""
    sandbox = await backend.provision(SandboxSpec(new_id("sesn")))
    kept.push_async_callback(sandbox.destroy, keep_files=False)
    await bash(sandbox)
    return sandbox


async def bash(sandbox: Sandbox, command: str = "true", call_id: str = "") -> str:
    call_id = call_id or f"call_{next(_numbers)}"
    result = await sandbox.execute("bash", {"command": command}, call_id=call_id, epoch=2, timeout_s=60)
    return str(result.content[0]["text"])


async def first_result(backend: BubblewrapBackend) -> list[Finding]:
    """From nothing to the first result of bash, limits on, beside the floor in turn."""
    plain, ours = [], []
    for _ in range(STARTS):
        plain.append(await timed(lambda: asyncio.to_thread(subprocess.run, PLAIN, check=True, env={})))
        async with AsyncExitStack() as kept:
            ours.append(await timed(partial(started, backend, kept)))
    floor = f"plain bwrap, Python and bash {_ms(plain, 50):.1f} ms, ratio {_ms(ours, 50) / _ms(plain, 50):.2f}"
    return [
        _at_most("first bash of a fresh sandbox, p50", _ms(ours[1:], 50), 39, floor),
        _at_most("first bash of a fresh sandbox, p95", _ms(ours[1:], 95), 78),
    ]


async def call_overhead(backend: BubblewrapBackend) -> list[Finding]:
    """One call of `true` after the other in a shell that is there."""
    async with AsyncExitStack() as kept:
        sandbox = await started(backend, kept)
        took = [await timed(lambda: bash(sandbox)) for _ in range(CALLS)]
    return [
        _at_most("bash call, p50", _ms(took, 50), 1),
        _at_most("bash call, p95", _ms(took, 95), 3),
    ]


async def many_shells(backend: BubblewrapBackend) -> Finding:
    async def work(sandbox: Sandbox) -> None:
        for _ in range(CALLS_EACH):
            await bash(sandbox, "((++n))")

    async with AsyncExitStack() as kept:
        sandboxes = [await started(backend, kept) for _ in range(SHELLS)]
        rate = SHELLS * CALLS_EACH / await timed(lambda: asyncio.gather(*map(work, sandboxes)))
        counts = {await bash(sandbox, "echo $n") for sandbox in sandboxes}
    met = rate >= 1_500 and counts == {str(CALLS_EACH)}
    return Finding(f"{SHELLS} shells at once", ">= 1500/s", rate, "calls/s", met, [f"each counted {counts}"])


async def idle_memory(backend: BubblewrapBackend, folder: Path) -> Finding:
    """Proportional set size of everything in a sandbox that has run one call, its keeper included."""
    async with AsyncExitStack() as kept:
        sandbox = await started(backend, kept)
        value = sum(map(_pss_mb, _family(_keeper(folder, sandbox.session_id))))
    return Finding("idle sandbox, PSS", "<= 10 MB", value, "MB", value <= 10)


async def many_starts(backend: BubblewrapBackend) -> Finding:
    async with AsyncExitStack() as kept:
        took_s = await timed(lambda: asyncio.gather(*(started(backend, kept) for _ in range(MANY))))
    return Finding(f"{MANY} sandboxes from nothing, each with a bash call", "<= 4 s", took_s, "s", took_s <= 4)


async def again_after_a_kill(backend: BubblewrapBackend, folder: Path) -> Finding:
    """The sandbox is killed; from the next provision to the first result that reads the session's file."""
    spec = SandboxSpec(new_id("sesn"))
    sandbox, took, kept = await backend.provision(spec), [], True
    await bash(sandbox, "echo kept >file")
    for _ in range(KILLS):
        os.kill(_keeper(folder, spec.session_id), signal.SIGKILL)
        await sandbox.release()
        begun = time.perf_counter()
        sandbox = await backend.provision(spec)
        kept &= await bash(sandbox, "cat file") == "kept"
        took.append(time.perf_counter() - begun)
    await sandbox.destroy(keep_files=False)
    value = _ms(took, 50)
    note = "files intact" if kept else "FILES LOST"
    return Finding("a sandbox again after SIGKILL, p50", "<= 150 ms", value, "ms", kept and value <= 150, [note])


async def again_after_a_kill_of_the_server(backend: BubblewrapBackend, folder: Path) -> Finding:
    """kill -9 in mid-call; from attaching to the result of the one execution."""
    session = new_id("sesn")
    workspace = folder / "sessions" / session / "workspace"
    with subprocess.Popen([sys.executable, "-c", SERVER, str(folder), session]) as server:
        while not (workspace / "count").exists():  # noqa: ASYNC110 - made by another process
            await asyncio.sleep(0.001)
        server.kill()
    begun = time.perf_counter()
    sandbox = await backend.attach(session)
    if sandbox is None:
        raise RuntimeError("the sandbox did not outlive its server")
    answer = asyncio.create_task(bash(sandbox, call_id="call"))
    (workspace / "go").touch()
    once = await answer == "once"
    value = (time.perf_counter() - begun) * 1000
    await sandbox.destroy(keep_files=False)
    note = "one execution, result delivered" if once else "NOT EXECUTED ONCE"
    return Finding(
        "a call's result after kill -9 of the server", "once, <= 150 ms", value, "ms", once and value <= 150, [note]
    )


def _keeper(folder: Path, session_id: str) -> int:
    keeper = living_keeper(folder / "sessions" / session_id)
    if keeper is None:
        raise RuntimeError("the sandbox is not there")
    return keeper.pid


def _at_most(name: str, value: float, goal: float, *notes: str) -> Finding:
    return Finding(name, f"<= {goal:g} ms", value, "ms", value <= goal, list(notes))


def _ms(took_s: Sequence[float], percentile: int) -> float:
    return statistics.quantiles(took_s, n=100, method="inclusive")[percentile - 1] * 1000


def _family(pid: int) -> list[int]:
    """The process and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _family(int(child)))]


def _pss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1_000
