"""One session, told to its end to a server that may die at any moment, and what must be true then.

The story has text, thinking, parallel calls, an approval, a custom tool and a queued message. Every command leaves a
mark in a file of the workspace, so that a command that ran twice is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import orjson
from anthropic import APIConnectionError

from roost.core.clock import SystemClock
from roost.store.sqlite import SqliteStore
from tests.crash.victim import Victim
from tests.messages_server import ADAPTIVE, Answer, reply, thinking, tool_use
from tests.rig.chat import Event, allows, answers, says, text_of
from tests.rig.grammar import broken_rules
from tests.rig.world import LOOK, toolset


def marks(word: str, before: str = "") -> Any:
    return tool_use("bash", {"command": f"{before} echo {word} >> /workspace/marks; echo did {word}"})


FIRST = {"command": "echo a >> /workspace/marks; printf 'approved: ' > /workspace/approved; echo did a"}
APPROVED = {"file_path": "/workspace/approved", "old_string": "approved: ", "new_string": "approved: 1"}
SCRIPT: list[Answer] = [
    reply(thinking("Two at once."), "I begin.", tool_use("bash", FIRST), marks("b", "sleep 0.2;")),
    reply(tool_use("edit", APPROVED)),
    reply(thinking("The client must look."), tool_use("look", {"at": "sky"})),
    reply("One more.", marks("c")),
    reply("That is all."),
]
SAID = ["I begin.", "One more.", "That is all."]


class Story:
    """Tells the story: whatever the log shows, it knows what the client does next."""

    def __init__(self, server: Victim) -> None:
        self._server = server
        self.session_id = ""

    async def begin(self) -> str:
        """Makes the session; returns its id."""
        beta = self._server.client.beta
        tools: list[Any] = [toolset(edit="always_ask"), LOOK]
        agent = await beta.agents.create(name="Ada", model=ADAPTIVE, tools=tools)
        environment = await beta.environments.create(name="test")
        self.session_id = (await beta.sessions.create(agent=agent.id, environment_id=environment.id)).id
        return self.session_id

    async def tell(self) -> None:
        """To the end, starting the server again whenever it is found dead."""
        while not await self._told():
            await self._server.revive()

    async def _told(self) -> bool:
        """True at the end of the story, False when the server was lost on the way."""
        events = self._server.client.beta.sessions.events
        try:
            async with await events.stream(self.session_id) as stream:
                if await self._step():
                    return True
                async for _ in stream:
                    if await self._step():
                        return True
        except (APIConnectionError, httpx2.HTTPError):
            pass
        return False

    async def _step(self) -> bool:
        """Sends what is due now. What was sent and stored is seen in the list, also after a lost reply."""
        events = self._server.client.beta.sessions.events
        log = [event.to_dict(mode="json") async for event in events.list(self.session_id, limit=1000)]
        if due := _due(log):
            await events.send(self.session_id, events=due)
        return _ended(log)


def _due(log: list[Event]) -> list[Any]:
    """What the client sends now: it answers what an idle names, so that each telling has the same commits."""
    idles = [event for event in log if event["type"] == "session.status_idle"]
    named = idles[-1]["stop_reason"].get("event_ids", []) if idles else []
    mine = [event for event in log if event["type"].startswith("user.")]
    settled = {event.get("tool_use_id") or event.get("custom_tool_use_id") for event in mine}
    if not mine:
        return [says("Go")]
    for call in log:
        if call["id"] in named and call["id"] not in settled:
            custom = call["type"] == "agent.custom_tool_use"
            return [says("And more"), answers(call["id"], "blue")] if custom else [allows(call["id"])]
    return []


def _ended(log: list[Event]) -> bool:
    return bool(log) and log[-1]["type"] == "session.status_idle" and log[-1]["stop_reason"]["type"] == "end_turn"


async def wrongs(data: Path, session_id: str, workspace: Path) -> list[str]:
    """What the story's end shows that should not be; looked up in the data folder of a server that has ended."""
    store = await SqliteStore.open(data, SystemClock())
    try:
        stored = await store.log.read(session_id)
        waiting = await store.log.inputs(session_id)
        row = await store.sessions.load(session_id)
    finally:
        await store.close()
    log = [orjson.loads(event.data) for event in stored]
    marked = (workspace / "marks").read_text().split()
    results = [event for event in log if event["type"].endswith("tool_result")]
    facts = {
        "the numbers of the log": ([event.seq for event in stored], list(range(1, len(stored) + 1))),
        "inputs that still wait": ([entry.id for entry in waiting], []),
        "the status": (row and row.status, "idle"),
        "what the user said": (_texts(log, "user.message"), ["Go", "And more"]),
        "what the agent said": (_texts(log, "agent.message"), SAID),
        "commands that ran": (sorted(marked), ["a", "b", "c"]),
        "the approved call": ((workspace / "approved").read_text(), "approved: 1"),
        "calls that failed": ([text_of(event) for event in results if event["is_error"]], []),
        "what commands answered": (
            sorted(_texts(log, "agent.tool_result"))[:3],
            ["did a", "did b", "did c"],
        ),
        "turns that ended": ([event["stop_reason"]["type"] for event in log if _ended([event])], ["end_turn"]),
    }
    found = [f"{what}: {is_!r}, not {should!r}" for what, (is_, should) in facts.items() if is_ != should]
    return [f"{session_id}: {wrong}" for wrong in (*broken_rules(log), *found)]


def _texts(log: list[Event], type: str) -> list[str]:
    return [text_of(event) for event in log if event["type"] == type]
