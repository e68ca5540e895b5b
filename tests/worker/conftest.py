"""A server, a self-hosted environment on it, and the official SDK's worker beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from anthropic.types.beta.environments import BetaSelfHostedWork

from tests.rig.chat import Chat
from tests.rig.world import World, world

BETA = "managed-agents-2026-04-01"
MAX_IDLE_S = 0.05
"""How long the workers of these tests stay with a session whose turn has ended."""


@dataclass(frozen=True)
class Hosted:
    """A self-hosted environment, the key of its workers, and the folder they work in."""

    world: World
    environment_id: str
    key: str
    workdir: Path

    @asynccontextmanager
    async def session(self, *tools: Mapping[str, Any], **fields: Any) -> AsyncIterator[Chat]:
        agent_id = await self.world.agent(*tools)
        made = await self.world.client.beta.sessions.create(
            agent=agent_id, environment_id=self.environment_id, **fields
        )
        async with self.world.attach(made.id) as chat:
            yield chat

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[asyncio.Task[None]]:
        """The SDK's own worker with its own tools, polling until the context is left."""
        async with AsyncAnthropic(base_url=self.world.roost.url, api_key="unused", max_retries=0) as client:
            worker = client.beta.environments.work.worker(
                environment_id=self.environment_id,
                environment_key=self.key,
                workdir=self.workdir,
                max_idle=MAX_IDLE_S,
            )
            serving = asyncio.create_task(worker.run())
            try:
                yield serving
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

    def client(self) -> AsyncAnthropic:
        """The SDK with the environment's key."""
        return AsyncAnthropic(
            base_url=self.world.roost.url, auth_token=self.key, api_key=None, _strict_response_validation=True
        )

    async def items(self) -> list[BetaSelfHostedWork]:
        """Every work item of the environment, newest first."""
        async with self.client() as client:
            return [item async for item in client.beta.environments.work.list(self.environment_id)]


async def environment_key(here: World, environment_id: str) -> str:
    """A key of the environment's workers, made by the operator."""
    headers = {"authorization": f"Bearer {here.roost.admin_key}"}
    async with httpx2.AsyncClient(base_url=here.roost.url, headers=headers) as operator:
        made = await operator.post("/roost/v1/keys", json={"name": "workers", "environment_id": environment_id})
    assert made.status_code == 200, made.text
    return str(made.json()["key"])


@pytest.fixture
async def hosted(tmp_path: Path) -> AsyncIterator[Hosted]:
    workdir = tmp_path / "work"
    workdir.mkdir()
    async with world(tmp_path, retry_first_s=0.01) as here:
        made = await here.client.beta.environments.create(name="ours", config={"type": "self_hosted"})
        yield Hosted(here, made.id, await environment_key(here, made.id), workdir)
        assert [str(refusal) for refusal in here.model.refusals] == [], "the model refused a request"
