"""The guide to self-hosted environments, followed to the letter."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from roost.api.auth import RIGHTS
from tests.messages_server import reply, tool_use
from tests.rig.chat import says
from tests.rig.waiting import WAIT_S, until
from tests.rig.world import KEY
from tests.tidy.tree import ROOT
from tests.worker.conftest import Hosted
from tests.worker.test_worker import text_is_said

GUIDE = (ROOT / "docs/guide/self-hosted.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
(SHELL,) = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)


async def printed(*command: str, environ: Mapping[str, str]) -> str:
    """What a program that succeeds has written."""
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().strip()


async def test_what_the_guide_says_to_do_brings_a_session_to_its_end(hosted: Hosted, tmp_path: Path) -> None:
    here = hosted.world
    make, serve = PYTHON
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, "ANTHROPIC_BASE_URL": here.roost.url}
    environment_id = await printed(sys.executable, "-c", make, environ={**environ, "ANTHROPIC_API_KEY": KEY})
    operator = {"PATH": path, "ROOST_URL": here.roost.url, "ROOST_ADMIN_KEY": here.roost.admin_key}
    key = await printed(*SHELL.strip().replace("env_...", environment_id).split(), environ=operator)
    worker = {"ANTHROPIC_ENVIRONMENT_ID": environment_id, "ANTHROPIC_ENVIRONMENT_KEY": key, "WORKDIR": str(tmp_path)}
    here.plays(reply(tool_use("bash", {"command": "echo owl > bird"})), reply("Done."))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", serve, env={**environ, **worker})
    try:
        made = await here.client.beta.sessions.create(
            agent=await here.agent(), environment_id=environment_id, initial_events=[says("Go")]
        )
        async with here.attach(made.id) as chat:
            await until(lambda: text_is_said(chat, "Done."), "the turn to end")
    finally:
        process.kill()
        await process.wait()
    assert (tmp_path / "bird").read_text() == "owl\n"


def test_the_table_of_keys_is_what_the_server_enforces() -> None:
    rows = {
        "poll": "environments.work.poll",
        "heartbeat": "environments.work.heartbeat",
        "stop an item": "environments.work.stop",
        "retrieve an item": "environments.work.retrieve",
        "statistics": "environments.work.stats",
        "retrieve the session": "sessions.retrieve",
        "send events": "sessions.events.send",
    }
    columns = ("api_key", "environment_key", "item_token")
    for words, name in rows.items():
        (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"| {words}")]
        shown = [cell.strip() != "no" for cell in line.strip("| ").split("|")[1:]]
        rights = RIGHTS.get(name, ("api_key",))
        assert shown == [column in rights for column in columns], words
