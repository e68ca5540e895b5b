"""Every example is run, unchanged, against a real server with the strict Messages server as its model."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.messages_server import ADAPTIVE, Answer, reply, tool_use
from tests.rig.world import KEY, World, world

pytestmark = pytest.mark.sandbox

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN_TIMEOUT_S = 40


def bash(command: str) -> Answer:
    return reply(tool_use("bash", {"command": command}))


PARTS: dict[str, tuple[list[Answer], list[str]]] = {
    "quickstart.py": (
        [bash("seq 20 > fibonacci.txt"), reply("I saved the numbers.")],
        ["Agent agent_", "Environment env_", "Session sesn_", "[bash]", "I saved the numbers.", "Agent finished."],
    ),
    "streaming.py": ([reply("An owl sees in the dark.")], ["An owl sees in the dark."]),
    "approve_tools.py": (
        [
            reply(tool_use("bash", {"command": "date"}), tool_use("bash", {"command": "rm -rf /workspace"})),
            reply("So."),
        ],
        ["allowed: date", "denied: rm -rf /workspace", "So."],
    ),
    "custom_tool.py": (
        [reply(tool_use("stock", {"article": "owl"})), reply("Three are left.")],
        ["asked for owl", "Three are left."],
    ),
    "files_in_out.py": (
        [
            bash("awk -F, '{s += $2} END {print s}' /mnt/session/uploads/birds.csv > /mnt/session/outputs/sum.txt"),
            reply("Seven."),
        ],
        ["sum.txt: 7"],
    ),
}
"""What the model plays for each example, and what the example must then have printed."""


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
async def test_an_example_runs_as_it_stands(name: str, here: World) -> None:
    answers, expected = PARTS[name]
    here.plays(*answers)
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("ROOST_", "ANTHROPIC_"))},
        "ROOST_URL": here.roost.url,
        "ROOST_API_KEY": KEY,
        "ROOST_MODEL": ADAPTIVE,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        cwd=here.folder,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(RUN_TIMEOUT_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    for line in expected:
        assert line in said.decode()
