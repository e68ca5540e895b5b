"""Killed with SIGKILL before and after every commit of a session's life, and started again each time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.story import SCRIPT, Story, wrongs
from tests.crash.victim import victim
from tests.messages_server import MessagesProcess

pytestmark = [pytest.mark.crash, pytest.mark.sandbox, pytest.mark.timeout(300)]
SIDE_BY_SIDE = 4


async def told(folder: Path, model_url: str, *plans: Sequence[str]) -> tuple[int, list[str], int]:
    """Tells the story once for each plan, in sessions of one data folder. The server that is started again after a
    death goes on with the session it finds, and then dies in the next one.

    Returns how often it died, what is wrong in the end, and the commits of the last session.
    """
    async with victim(folder, model_url, *plans) as server:
        session_ids = []
        for _ in plans:
            story = Story(server)
            session_ids.append(await story.begin())
            await story.tell()
        await server.end()
        found = [wrong for one in session_ids for wrong in await wrongs(server.data, one, server.workspace(one))]
        commits = (folder / "commits").read_text().split().count(session_ids[-1])
        return server.deaths, found, commits


async def test_a_server_killed_at_any_commit_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    with MessagesProcess(SCRIPT) as model:
        deaths, found, commits = await told(tmp_path / "whole", model.url, ())
        assert (deaths, found) == (0, [])
        plans = [
            ("--kill-at", str(number), "--moment", moment)
            for number in range(1, commits + 1)
            for moment in ("before", "after")
        ]
        shares = [plans[place::SIDE_BY_SIDE] for place in range(SIDE_BY_SIDE)]
        ends = await asyncio.gather(
            *(told(tmp_path / str(place), model.url, *share) for place, share in enumerate(shares))
        )
    assert [wrong for _, found, _ in ends for wrong in found] == []
    assert [deaths for deaths, _, _ in ends] == [len(share) for share in shares]
