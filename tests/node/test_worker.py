"""The worker of the official TypeScript SDK, unmodified, serves a self-hosted environment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.messages_server import reply, tool_use
from tests.node.test_sdk import HERE, install, need_node
from tests.rig.chat import says, text_of
from tests.rig.waiting import until
from tests.rig.world import world
from tests.worker.conftest import Hosted, environment_key
from tests.worker.test_worker import all_stopped, text_is_said

pytestmark = [pytest.mark.node, pytest.mark.timeout(240)]


async def test_the_typescript_worker_runs_the_calls_of_a_session(tmp_path: Path) -> None:
    need_node()
    install()
    workdir = tmp_path / "work"
    workdir.mkdir()
    async with world(tmp_path) as here:
        here.plays(
            reply(tool_use("bash", {"command": "echo owl > bird"})),
            reply(tool_use("read", {"file_path": "bird"})),
            reply("An owl."),
        )
        made = await here.client.beta.environments.create(name="ours", config={"type": "self_hosted"})
        hosted = Hosted(here, made.id, await environment_key(here, made.id), workdir)
        environ = {
            "PATH": os.environ["PATH"],
            "ROOST_URL": here.roost.url,
            "ENVIRONMENT_ID": made.id,
            "ENVIRONMENT_KEY": hosted.key,
            "WORKDIR": str(workdir),
        }
        process = await asyncio.create_subprocess_exec("node", "worker.mjs", cwd=HERE, env=environ)
        try:
            async with hosted.session(initial_events=[says("Which bird?")]) as chat:
                await until(lambda: text_is_said(chat, "An owl."), "the turn to end")
                await until(lambda: all_stopped(hosted, 1), "the worker to leave the session")
                _, read = await chat.events("user.tool_result")
                assert "owl" in text_of(read)
                await chat.check()
        finally:
            process.kill()
            await process.wait()
    assert (workdir / "bird").read_text() == "owl\n"
