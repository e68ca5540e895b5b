"""Sandboxes for tests: real ones, in a folder of their own, all gone at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from roost.core.ids import new_id
from roost.sandbox.bubblewrap import BubblewrapBackend, Limits
from roost.sandbox.conformance import MOMENT_S, Bench
from roost.sandbox.fleet import Fleet
from roost.sandbox.interface import Upload
from tests.sandbox.leaks import left_behind, traces

UPLOADED = "uploaded"


async def until(condition: Callable[[], object]) -> None:
    """Give way until it holds; fails after `MOMENT_S`."""
    async with asyncio.timeout(MOMENT_S):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0)


async def until_running(fleet: Fleet, session_id: str, call_id: str) -> None:
    async with asyncio.timeout(MOMENT_S):
        while await fleet.lookup(session_id, call_id, epoch=1) != "running":  # noqa: ASYNC110
            await asyncio.sleep(0)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last test nothing of any sandbox is there any more; what is, fails the tests."""
    before = traces(tmp_path_factory.getbasetemp())
    yield
    assert not left_behind(tmp_path_factory.getbasetemp(), before)


@pytest.fixture(scope="session")
def why_not(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Why no sandbox works here, found by starting one; empty where they do."""

    async def probe() -> str:
        backend = BubblewrapBackend(tmp_path_factory.mktemp("probe"))
        try:
            return (await backend.probe()).why_not
        finally:
            await backend.aclose()

    return asyncio.run(probe())


@pytest.fixture
async def backend(tmp_path: Path, why_not: str) -> AsyncIterator[BubblewrapBackend]:
    if why_not:
        pytest.skip(why_not)
    backend = BubblewrapBackend(tmp_path / "state", limits=Limits(processes=128, tmp_bytes=64 << 20))
    yield backend
    for session_id in await backend.living():
        await backend.forget(session_id)
    await backend.aclose()


@pytest.fixture
async def bench(backend: BubblewrapBackend, tmp_path: Path) -> AsyncIterator[Bench]:
    source = tmp_path / "upload"
    source.write_text(UPLOADED)
    source.chmod(0o600)
    bench = Bench(backend, new_id("sesn"), [Upload(f"{backend.paths.uploads}/data/file.txt", str(source))])
    yield bench
    await bench.end(keep_files=False)
