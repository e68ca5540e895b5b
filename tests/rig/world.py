"""A whole Roost in this process: real store, real sandboxes, the strict Messages server behind it, the official client.

    async with world(folder) as here:
        here.plays(reply("Hello"))
        async with here.session() as chat:
            await chat.say("Hi")
            await chat.idle()

The slow poll is so slow here that a hint which is lost fails the test instead of being made up for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic

from roost.core.settings import Settings
from roost.server import Running, running
from tests.messages_server import ADAPTIVE, Answer, MessagesServer, Request, Script, in_order, tool_use
from tests.rig.chat import Chat
from tests.rig.waiting import lines

KEY = "roost-key-of-the-tests"
MODEL_KEY = "model-key-of-the-tests"
POLL_S = 60.0
LOOK = {
    "type": "custom",
    "name": "look",
    "description": "Looks at a place and says what is there.",
    "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
}

HELD = tool_use(
    "bash", {"command": "touch /workspace/held; until [ -e /workspace/go ]; do sleep 0.02; done; echo went on"}
)
"""A call that runs until the test lets it go."""


def toolset(**policies: str) -> dict[str, Any]:
    """All built-in tools; those named have a policy other than `always_allow`, or are `off`."""
    configs = [
        {"name": name, "enabled": policy != "off"}
        | ({} if policy == "off" else {"permission_policy": {"type": policy}})
        for name, policy in policies.items()
    ]
    return {"type": "agent_toolset_20260401", "configs": configs}


@dataclass
class Part:
    """What the model plays; another one for every test, while the server stays."""

    script: Script = field(default_factory=lambda: in_order(()))
    style: Callable[[Answer], Answer] = lambda answer: answer

    def __call__(self, request: Request) -> Answer:
        return self.style(self.script(request))


@dataclass
class World:
    """A server, the model behind it, and a client before it."""

    roost: Running
    model: MessagesServer
    client: AsyncAnthropic
    folder: Path
    environment_id: str
    part: Part = field(default_factory=Part)

    def plays(self, *answers: Answer) -> None:
        """The model gives these answers, one after the other, to whoever asks."""
        self.part.script = in_order(answers)

    def workspace(self, session_id: str) -> Path:
        """Where the session's `/workspace` lies on this host."""
        return self.folder / "data/sandboxes/sessions" / session_id / "workspace"

    async def held(self, session_id: str) -> None:
        """Returns once the session's call `HELD` runs."""
        await self.file(session_id, "held")

    async def let_go(self, session_id: str) -> None:
        await self.held(session_id)
        (self.workspace(session_id) / "go").touch()

    async def file(self, session_id: str, name: str) -> Path:
        """Waits for a file in the session's workspace."""
        path = self.workspace(session_id) / name
        await lines(path)
        return path

    async def agent(self, *tools: Mapping[str, Any], **fields: Any) -> str:
        made = await self.client.beta.agents.create(
            **{"name": "Ada", "model": ADAPTIVE, "tools": list(tools or (toolset(),)), **fields}
        )
        return made.id

    @asynccontextmanager
    async def session(
        self,
        *tools: Mapping[str, Any],
        previews: Sequence[Any] = (),
        fields: Mapping[str, Any] | None = None,
        **agent: Any,
    ) -> AsyncIterator[Chat]:
        """A new session of a new agent, with its stream open."""
        agent_id = await self.agent(*tools, **agent)
        made = await self.client.beta.sessions.create(
            agent=agent_id, environment_id=self.environment_id, **(fields or {})
        )
        async with self.attach(made.id, previews=previews) as chat:
            yield chat

    @asynccontextmanager
    async def attach(self, session_id: str, previews: Sequence[Any] = ()) -> AsyncIterator[Chat]:
        """A stream on a session that is there already."""
        chat = Chat(self.client, session_id)
        async with chat.follow(previews):
            yield chat


@asynccontextmanager
async def world(folder: Path, **changed: Any) -> AsyncIterator[World]:
    """Starts everything and ends it, sandboxes too. `changed` are settings."""
    part = Part()
    async with (
        MessagesServer(part) as model,
        serving(folder, model.url, **changed) as roost,
        client_of(roost.url) as client,
    ):
        environment = await client.beta.environments.create(name="test")
        yield World(roost, model, client, folder, environment.id, part)


@asynccontextmanager
async def serving(folder: Path, model_url: str, **changed: Any) -> AsyncIterator[Running]:
    """A server on a data folder, which may hold an earlier server's sessions; its sandboxes end with it."""
    settings = Settings(
        **{
            "port": 0,
            "data_dir": folder / "data",
            "api_key": KEY,
            "rate_limits": None,
            "poll_s": POLL_S,
            "anthropic_api_key": MODEL_KEY,
            "anthropic_base_url": model_url,
            **changed,
        }
    )
    async with running(settings) as roost:
        try:
            yield roost
        finally:
            await roost.turns.stop()
            for session_id in await roost.fleet.living():
                await roost.fleet.forget(session_id)


def client_of(url: str) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, _strict_response_validation=True)
