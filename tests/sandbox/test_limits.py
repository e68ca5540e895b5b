"""What a sandbox uses up, it uses up for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from roost.core.ids import new_id
from roost.sandbox.bubblewrap import BubblewrapBackend, Limits
from roost.sandbox.cgroup import ROOT
from roost.sandbox.conformance import Bench

pytestmark = pytest.mark.sandbox

LIMITS = Limits(memory_bytes=256 << 20, processes=64, file_bytes=1 << 20, tmp_bytes=1 << 20)


@pytest.fixture
async def small(tmp_path: Path, why_not: str) -> AsyncIterator[Bench]:
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state", limits=LIMITS)
    bench = Bench(backend, new_id("sesn"))
    yield bench
    await bench.end(keep_files=False)
    await backend.aclose()


async def test_a_fork_bomb_is_stopped_and_the_shell_works_afterwards(small: Bench) -> None:
    bomb = ":(){ :|:& };:; while :; do sleep 1; done"
    assert "timed out" in await small.bash(bomb, timeout_ms=1_000)
    assert await small.bash("echo fine; pgrep -c sleep", timeout_ms=20_000) == "fine\n0"


async def test_a_detached_fork_bomb_ends_with_a_restart(small: Bench) -> None:
    await small.bash("f() { f | f & }; f", timeout_ms=1_000)
    await small.bash("", restart=True)
    assert await small.bash("echo fine; ps -e | wc -l", timeout_ms=20_000) != ""
    assert int((await small.bash("ls -d /proc/[0-9]* | wc -l")).split()[-1]) < 10


async def test_a_process_that_takes_too_much_memory_fails_and_the_shell_goes_on(small: Bench) -> None:
    await small.bash("A=kept")
    greedy = await small.call("bash", command="python3 -c 'x = bytearray(1 << 30); print(len(x))'")
    assert greedy.is_error
    assert await small.bash("echo $A") == "kept"


async def test_the_processor_is_shared(tmp_path: Path, why_not: str) -> None:
    """Told by the kernel's own count of the times when it held the sandbox back, not by a clock."""
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state", limits=replace(LIMITS, cpus=0.2))
    capability = await backend.probe()
    if "processor time (control group)" not in capability.limits:
        assert "share of the processor" in capability.lacks
        await backend.aclose()
        pytest.skip("no control group for the processor can be made here")
    bench = Bench(backend, new_id("sesn"))
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    assert await bench.bash(f"python3 -c '{busy}'; echo fine") == "fine"
    counts = [path.read_text() for path in ROOT.glob(f"**/{bench.spec.session_id}/cpu.stat")]
    throttled = [
        int(line.split()[1]) for count in counts for line in count.splitlines() if line[:13] == "nr_throttled "
    ]
    await bench.end(keep_files=False)
    await backend.aclose()
    assert max(throttled) > 0


async def test_a_file_cannot_grow_without_end(small: Bench) -> None:
    assert (await small.call("bash", command="head -c 2000000 /dev/zero >big")).is_error
    assert await small.bash("stat -c %s big") == str(1 << 20)
    assert (await small.call("write", file_path="big2", content="x" * 2_000_000)).is_error
    assert await small.bash("echo fine") == "fine"


async def test_temporary_files_are_bounded(small: Bench) -> None:
    filled = await small.bash("head -c 900000 /dev/zero >/tmp/a; head -c 900000 /dev/zero >/tmp/b")
    assert "No space left" in filled
