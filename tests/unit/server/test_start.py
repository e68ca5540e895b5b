"""The first start and those after it: keys, the operator's key, and folders that are not Roost's."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from roost.cli.private import private_server
from roost.core.settings import Settings
from roost.server import StartError, running
from roost.store.protocols import StoreError

pytestmark = pytest.mark.sandbox

SLOW: Any = {
    "type": "user.message",
    "content": [{"type": "text", "text": '```roost-script\n[{"delay_s": 300}, {"text": "late"}]\n```'}],
}


def settings(folder: Path, **changed: Any) -> Settings:
    return Settings(**{"port": 0, "data_dir": folder / "data", **changed})


async def status(url: str, key: str) -> int:
    headers = {"x-api-key": key, "anthropic-beta": "managed-agents-2026-04-01"}
    async with httpx2.AsyncClient(base_url=url, headers=headers) as client:
        return (await client.get("/v1/agents")).status_code


async def test_the_first_start_shows_a_key_and_later_ones_do_not(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as first:
        key = first.info.key_created
        assert key is not None
        assert await status(first.url, key) == 200
    async with running(settings(tmp_path)) as second:
        assert second.info.key_created is None
        assert await status(second.url, key) == 200


async def test_a_key_of_the_settings_is_accepted_and_not_kept(tmp_path: Path) -> None:
    async with running(settings(tmp_path, api_key="sk-of-the-settings")) as first:
        assert first.info.key_created is None
        assert await status(first.url, "sk-of-the-settings") == 200
    async with running(settings(tmp_path)) as second:
        assert second.info.key_created is not None
        assert await status(second.url, "sk-of-the-settings") == 401


async def test_the_operators_key_is_private_and_an_empty_one_stops_the_start(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        path = tmp_path / "data/admin.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text().strip() == server.admin_key
    path.write_text("")
    with pytest.raises(StartError, match="is empty"):
        async with running(settings(tmp_path)):
            pass


async def test_a_folder_with_other_things_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match="no data folder"):
        async with running(settings(tmp_path)):
            pass
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


async def test_a_second_signal_hands_running_turns_over_at_once(tmp_path: Path) -> None:
    environ = {**os.environ, "ROOST_STOP_GRACE_S": "600"}
    with private_server(tmp_path / "data", environ) as server:
        client = AsyncAnthropic(base_url=server.url, api_key=server.api_key)
        agent = await client.beta.agents.create(name="slow", model="scripted")
        environment = await client.beta.environments.create(name="any")
        session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
        async with await client.beta.sessions.events.stream(session.id) as stream:
            await client.beta.sessions.events.send(session.id, events=[SLOW])
            async for event in stream:
                if event.type == "span.model_request_start":
                    break
        await client.close()
        process = os.pidfd_open(server.pid)
        try:
            # Two signals at the same moment may count as one, so they are sent until they have their effect.
            for _ in range(100):
                signal.pidfd_send_signal(process, signal.SIGTERM)
                ended, _, _ = await asyncio.to_thread(select.select, [process], [], [], 0.3)
                if ended:
                    break
        finally:
            os.close(process)
        assert ended == [process]
