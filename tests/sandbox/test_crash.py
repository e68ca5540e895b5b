"""Whatever is killed, nothing runs twice and nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.conformance import MOMENT_S, Bench, text
from roost.sandbox.interface import SandboxLost, SandboxSpec
from roost.sandbox.keeper import living_keeper

pytestmark = pytest.mark.sandbox

SERVER = """\
import asyncio, sys
from pathlib import Path
from roost.sandbox.bubblewrap import BubblewrapBackend
from roost.sandbox.interface import SandboxSpec

async def main():
    backend = BubblewrapBackend(Path(sys.argv[1]))
    print("starting", flush=True)
    sandbox = await backend.provision(SandboxSpec("session"))
    print("started", flush=True)
    wait = "while [ ! -e /workspace/go ]; do sleep 0.01; done"
    command = f"export A=kept; cd /usr; echo once >>/workspace/count; {wait}; echo result"
    await sandbox.execute("bash", {"command": command}, call_id="call", epoch=1, timeout_s=600)

asyncio.run(main())
"""
KILLS = 24


def server(state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SERVER, str(state)], stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + MOMENT_S
    while not condition():
        assert time.monotonic() < give_up_s
        select.select([], [], [], 0.005)


def processes_naming(word: str) -> list[int]:
    """Processes whose command line or control group names the word."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            texts = Path(f"/proc/{name}/cmdline").read_text() + Path(f"/proc/{name}/cgroup").read_text()
        except OSError:
            continue
        if word in texts and int(name) != os.getpid():
            found.append(int(name))
    return found


async def test_a_call_outlives_the_server_and_runs_once(backend: BubblewrapBackend, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with server(state) as process:
        await asyncio.to_thread(wait_until, (state / "sessions/session/workspace/count").exists)
        process.kill()
    sandbox = await backend.attach("session")
    assert sandbox is not None
    assert await sandbox.lookup("call", epoch=2) == "running"
    again = asyncio.create_task(sandbox.execute("bash", {"command": "no"}, call_id="call", epoch=2, timeout_s=60))
    (state / "sessions/session/workspace/go").touch()
    assert text(await again) == "result"
    after = await sandbox.execute(
        "bash", {"command": "pwd; echo $A; cat /workspace/count"}, call_id="after", epoch=2, timeout_s=60
    )
    assert text(after) == "/usr\nkept\nonce"
    await sandbox.destroy(keep_files=False)


@pytest.mark.parametrize("_attempt", range(KILLS))
async def test_a_server_killed_while_a_sandbox_starts_leaves_none_unknown(
    _attempt: int, backend: BubblewrapBackend, tmp_path: Path
) -> None:
    """Either the start was finished and the sandbox is found and can be ended, or nothing of it is left."""
    state = tmp_path / "state"
    with server(state) as process:
        assert process.stdout
        process.stdout.readline()
        # Spread over the start, which takes about a tenth of a second in a new process.
        select.select([process.stdout], [], [], _attempt * 0.005)
        process.kill()
    await backend.forget("session")
    await asyncio.to_thread(wait_until, lambda: not processes_naming(str(state)))
    assert not (state / "sessions" / "session").exists()


async def test_a_sandbox_without_a_server_ends_by_itself_but_not_under_a_call(tmp_path: Path, why_not: str) -> None:
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state", orphan_ttl_s=0.2)
    folder = tmp_path / "state/sessions/session"
    sandbox = await backend.provision(SandboxSpec("session"))
    command = {"command": "touch started; sleep 1; touch finished"}
    call = asyncio.create_task(sandbox.execute("bash", command, call_id="c", epoch=1, timeout_s=60))
    await asyncio.to_thread(wait_until, (folder / "workspace/started").exists)
    await sandbox.release()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.to_thread(wait_until, (folder / "workspace/finished").exists)
    await asyncio.to_thread(wait_until, lambda: living_keeper(folder) is None)
    await backend.forget("session")
    await backend.aclose()


async def test_killing_the_keeper_ends_everything_at_once(bench: Bench, tmp_path: Path) -> None:
    running = await bench.running("setsid sleep 987654 & (setsid sleep 987654 &) ; sleep 987654", "call")
    keeper = living_keeper(tmp_path / "state/sessions" / bench.spec.session_id)
    assert keeper is not None
    await asyncio.to_thread(wait_until, lambda: len(processes_naming("sleep\0987654")) == 3)
    os.kill(keeper.pid, signal.SIGKILL)
    with pytest.raises(SandboxLost):
        await running
    await asyncio.to_thread(wait_until, lambda: not processes_naming("987654"))
    assert await bench.backend.attach(bench.spec.session_id) is None
    assert str(tmp_path) not in await asyncio.to_thread(Path("/proc/self/mountinfo").read_text)


async def test_a_killed_launcher_is_replaced_and_sandboxes_live_on(backend: BubblewrapBackend) -> None:
    first = await backend.provision(SandboxSpec("first"))
    launcher = backend._launcher._process
    assert launcher is not None
    launcher.kill()
    launcher.wait()
    second = await backend.provision(SandboxSpec("second"))
    for sandbox in (first, second):
        result = await sandbox.execute("bash", {"command": "echo alive"}, call_id="c", epoch=1, timeout_s=60)
        assert text(result) == "alive"
        await sandbox.destroy(keep_files=False)
