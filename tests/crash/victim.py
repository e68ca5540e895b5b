"""A `roost serve` in a process of its own that is killed, found dead and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anthropic import AsyncAnthropic

from roost.sandbox.bubblewrap import BubblewrapBackend
from tests.rig.world import KEY, MODEL_KEY, POLL_S, client_of

ROOT = Path(__file__).parents[2]
START_S = 30.0


class Victim:
    """One data folder and the server on it, which gets a new port each time it is started."""

    def __init__(self, folder: Path, model_url: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.client: AsyncAnthropic
        self.plans: deque[Sequence[str]] = deque()
        """The launcher's options for the next starts; none when they are used up."""
        self.deaths = 0
        self._model_url = model_url
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts the server by the next plan and returns when it listens."""
        options = self.plans.popleft() if self.plans else ()
        settings = {
            "ROOST_API_KEY": KEY,
            "ROOST_RATE_LIMITS": "off",
            "ROOST_POLL_S": str(POLL_S),
            "ROOST_RETRY_FIRST_S": "0.01",
            "ROOST_LOG_LEVEL": "error",
            "ROOST_STOP_GRACE_S": "0",
            "ANTHROPIC_API_KEY": MODEL_KEY,
            "ANTHROPIC_BASE_URL": self._model_url,
        }
        self.folder.mkdir(exist_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.crash.launcher", *options, str(self.data),
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.client = client_of(await asyncio.wait_for(self._url(), START_S))

    async def _url(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"Listening"):
                return line.split()[1].decode()
        raise AssertionError("the server did not start")

    async def kill(self) -> None:
        """SIGKILL, now."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def revive(self) -> None:
        """Starts the server again where it was killed; does nothing while it lives."""
        assert self._process is not None
        try:
            status = await asyncio.wait_for(self._process.wait(), 0.05)
        except TimeoutError:
            return
        assert status == -signal.SIGKILL, f"the server ended with status {status}"
        self.deaths += 1
        await self.client.close()
        await self.start()

    async def end(self) -> None:
        """Ends the server in good order, if it lives."""
        if self._process is not None and self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()
            await self.client.close()

    async def clear(self) -> None:
        """Ends the sandboxes that outlived the server, and removes their files."""
        backend = BubblewrapBackend(self.data / "sandboxes")
        for session_id in await backend.living():
            await backend.forget(session_id)
        await backend.aclose()

    def workspace(self, session_id: str) -> Path:
        return self.data / "sandboxes/sessions" / session_id / "workspace"


@asynccontextmanager
async def victim(folder: Path, model_url: str, *plans: Sequence[str]) -> AsyncIterator[Victim]:
    """A server that runs until the block is left; each plan is for one start of it."""
    made = Victim(folder, model_url)
    made.plans.extend(plans)
    try:
        await made.start()
        yield made
    finally:
        await made.end()
        await made.clear()
