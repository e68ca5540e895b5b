"""A sandbox that fills the disk is stopped, told so, and can make room again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from roost.core.ids import new_id
from roost.sandbox import disk
from roost.sandbox.bubblewrap import BubblewrapBackend, Limits
from roost.sandbox.conformance import Bench, text
from roost.sandbox.disk import DiskWatch, used_bytes
from roost.sandbox.interface import SandboxLost, SandboxSpec, SandboxUnavailable, ToolResult
from tests.sandbox.conftest import until

pytestmark = pytest.mark.sandbox

LIMIT = 4 << 20
GROW = "while :; do head -c 500000 /dev/zero >>big; sleep 0.05; done"


@pytest.fixture
async def small(tmp_path: Path, why_not: str) -> AsyncIterator[Bench]:
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state", limits=Limits(disk_bytes=LIMIT))
    bench = Bench(backend, new_id("sesn"))
    yield bench
    await bench.end(keep_files=False)
    await backend.aclose()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_INTERVAL_S", "_NEAR_INTERVAL_S", "_PAUSE_TIMES", "_NEAR_PAUSE_TIMES"):
        monkeypatch.setattr(disk, name, 0)


async def test_a_call_that_fills_the_disk_is_cancelled_and_told_why(small: Bench) -> None:
    filling = await small.call("bash", command=GROW)
    assert filling.is_error
    assert "the call was cancelled: this sandbox uses" in text(filling)
    assert "may use 4 MiB; delete files before writing more" in text(filling)


@pytest.mark.usefixtures("at_once")
async def test_over_the_limit_files_can_be_read_and_removed_and_then_work_goes_on(
    small: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    async def counted(folders: Sequence[Path]) -> int:
        measured.append(await used_bytes(folders))
        return measured[-1]

    monkeypatch.setattr(disk, "used_bytes", counted)
    await small.bash("head -c 1000000 /dev/zero >more")
    assert (await small.call("bash", command=GROW)).is_error
    workspace = tmp_path / "state/sessions" / small.spec.session_id / "workspace"
    over = True
    for work, said in (("wc -c <more; rm big more", "1000000\n"), ("head -c 1000000 /dev/zero >new", "")):
        waits = "touch waits; while [ -e waits ]; do sleep 0.01; done"
        call = asyncio.create_task(small.bash(f"{waits}; {work}; {waits}; echo done"))
        for _ in range(2):
            await until((workspace / "waits").exists)
            measured.clear()
            await until(lambda: len(measured) > 2)
            (workspace / "waits").unlink()
            assert (measured[-1] > LIMIT) == over
            over = False
        assert await call == f"{said}done"


async def test_sizes_are_what_lies_on_the_disk(tmp_path: Path) -> None:
    """Links are not followed, two names are one file, holes are nothing, and depth hides nothing."""
    workspace, deep = tmp_path / "workspace", tmp_path / "deep"
    for folder in (workspace, deep):
        folder.mkdir()
    empty = await used_bytes([workspace, deep])
    (workspace / "file").write_bytes(b"x" * 1_000_000)
    (deep / "same").hardlink_to(workspace / "file")
    (workspace / "all").symlink_to("/usr")
    with (workspace / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    assert 1_000_000 <= await used_bytes([workspace, deep]) - empty < 1_100_000
    here = os.open(deep, os.O_RDONLY)
    for _ in range(2_000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    end = os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=here)
    os.write(end, b"x" * 2_000_000)
    os.close(end)
    os.close(here)
    try:
        assert await used_bytes([workspace, deep]) - empty > 3_000_000
    finally:
        await asyncio.to_thread(subprocess.run, ["rm", "-rf", str(deep)], check=True)  # too deep for Python


async def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await used_bytes([tmp_path / "none"])


def measuring(*sizes: int) -> tuple[Callable[[], Awaitable[int]], asyncio.Event]:
    """One size after the other, the last again and again; and an event for when that has been reached."""
    left, reached = list(sizes), asyncio.Event()

    async def measure() -> int:
        if len(left) > 1:
            return left.pop(0)
        reached.set()
        return left[0]

    return measure, reached


class Call:
    """One that runs until it is cancelled or `done` is set."""

    def __init__(self, *, fails: bool = True) -> None:
        self.done = asyncio.Event()
        self.cancelled = False
        self._fails = fails

    async def execute(self) -> ToolResult:
        await self.done.wait()
        return ToolResult.text("output", is_error=self.cancelled and self._fails)

    async def cancel(self) -> None:
        self.cancelled = True
        self.done.set()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("sizes", "cancelled"),
    [
        ((50, 101), True),
        ((50, 100), False),
        ((200, 200), False),
        ((200, 201), True),
        ((200, 150, 200), True),
        ((200, 50, 90), False),
    ],
)
async def test_what_is_over_the_limit_may_stay_but_not_grow(sizes: tuple[int, ...], cancelled: bool) -> None:
    measure, reached = measuring(*sizes)
    watch, call = DiskWatch(measure, 100), Call()
    guarded = asyncio.create_task(watch.guard(call.execute(), call.cancel))
    await reached.wait()
    if not cancelled:
        for _ in range(100):  # what it has seen it acts on in a few steps
            await asyncio.sleep(0)
        call.done.set()
    result = await guarded
    assert (call.cancelled, result.is_error, len(result.content)) == (cancelled, cancelled, 1 + cancelled)
    await watch.aclose()


@pytest.mark.usefixtures("at_once")
async def test_a_call_that_ended_by_itself_in_the_same_moment_keeps_its_result() -> None:
    measure, _ = measuring(0, 101)
    watch, call = DiskWatch(measure, 100), Call(fails=False)
    assert await watch.guard(call.execute(), call.cancel) == ToolResult.text("output")
    await watch.aclose()


@pytest.mark.usefixtures("at_once")
async def test_a_size_that_cannot_be_measured_stops_nothing_and_is_asked_again() -> None:
    asked = 0

    async def measure() -> int:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise OSError("not now")
        return asked + 100

    watch, call = DiskWatch(measure, 100), Call()
    result = await watch.guard(call.execute(), call.cancel)
    assert call.cancelled
    assert result.is_error
    assert asked >= 4
    await watch.aclose()


async def test_a_call_that_is_lost_says_so() -> None:
    async def execute() -> ToolResult:
        raise SandboxLost("gone")

    watch = DiskWatch(measuring(0)[0], 100)
    with pytest.raises(SandboxLost):
        await watch.guard(execute(), Call().cancel)
    await watch.aclose()


async def test_no_sandbox_is_made_on_a_disk_that_is_nearly_full(
    backend: BubblewrapBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "HOST_FREE_BYTES_MIN", 1 << 60)
    with pytest.raises(SandboxUnavailable, match="a sandbox needs 1099511627776 MiB: free some"):
        await backend.provision(SandboxSpec("session"))
