"""One session played to its end: the real brain on a real store; model, hands and client follow a plan.

Only here may a model be played in process: hypothesis draws hundreds of plans, and what is looked at is the log and the
requests, not the wire. Everything else goes through the strict server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from roost.core.clock import later, parse_timestamp, timestamp
from roost.core.ids import new_id
from roost.core.settings import Settings
from roost.harness.brain import Brain
from roost.harness.files import Outputs
from roost.harness.turn import Tools
from roost.sandbox.interface import OutputFile, SandboxSpec, ToolResult
from roost.store.protocols import Batch, EventDraft, SessionRow, StoredEvent
from roost.store.sqlite import SqliteStore
from roost.store.statements import append, draft, enqueue, hints, session_insert, wake
from roost.wire.events.content import TextBlock
from roost.wire.events.event import Event
from roost.wire.events.user import (
    SystemMessage,
    UserCustomToolResult,
    UserInterrupt,
    UserMessage,
    UserToolConfirmation,
)
from roost.wire.messages import Block, ModelCard, ModelError, ModelLimits, ModelRequest
from tests.messages_server.replies import signature_of, thinking_seal
from tests.rig.clock import MovableClock
from tests.rig.logbook import TOOLS
from tests.rig.stream import call, stream, text, thinking

Aside = Literal["nothing", "message", "note", "answer", "confirm", "interrupt", "crash", "crash late"]
"""What happens while the model speaks or a tool runs; a late crash comes when the work is done, but not recorded."""
Ending = Literal["whole", "cut", "refusal", "pause", "busy", "broken", "failed"]
Move = Literal["message", "message and note", "answer one", "answer all", "deny all", "interrupt", "redirect"]

SETTINGS = Settings(poll_s=600, tool_rounds_max=6, model_retries_max=2, retry_first_s=1)
ROUNDS_MAX = 200
WAIT_S = 10


@dataclass(frozen=True)
class Say:
    """One reply of the model."""

    thinks: bool = False
    texts: int = 1
    calls: tuple[str, ...] = ()
    ending: Ending = "whole"
    aside: Aside = "nothing"
    tool_aside: Aside = "nothing"
    """Happens at the first call of this reply."""


@dataclass(frozen=True)
class Plan:
    says: tuple[Say, ...]
    moves: tuple[Move, ...]


@dataclass
class Play:
    """What came of a plan."""

    store: SqliteStore
    plan: Plan
    session_id: str = field(default_factory=lambda: new_id("sesn"))
    clock: MovableClock = field(default_factory=MovableClock)
    requests: list[list[bytes]] = field(default_factory=list)
    """The messages of every request, encoded."""
    runs: dict[str, int] = field(default_factory=dict)
    """How often each call took effect."""
    asides: list[Aside] = field(default_factory=list)
    """What waits to happen at the next call."""
    brain: asyncio.Task[None] | None = None

    async def run(self) -> Play:
        now = timestamp(self.clock.now())
        agent = {"name": "player", "model": {"id": "model"}, "system": None, "tools": TOOLS.tools}
        body = orjson.dumps({"agent": agent, "resources": []})
        row = SessionRow(self.session_id, "wrkspc_1", "idle", "agent_1", 1, "env_1", "sthr_1", now, now, body, b"{}")
        await self.store.commit(Batch((session_insert(row),)))
        for move in (*self.plan.moves, "message"):
            await self.move(move)
            await self.settle()
        while await self.open_calls():
            await self.move("answer all")
            await self.settle()
        return self

    async def settle(self) -> None:
        """Claims and runs until nobody wants a brain any more, whatever crashes on the way."""
        tools = self._tools()
        for _ in range(ROUNDS_MAX):
            row = await self.row()
            if row.wake_at is None:
                return
            self.clock.pass_to(parse_timestamp(row.wake_at))
            now = self.clock.now()
            claims = await self.store.queue.claim(
                "brain", 100, now=timestamp(now), lease_until=timestamp(later(now, 30))
            )
            (claim,) = [claim for claim in claims if claim.session_id == self.session_id]
            self.brain = asyncio.create_task(Brain(tools).run(claim))
            done, _ = await asyncio.wait([self.brain], timeout=WAIT_S)
            assert done, "the brain waits for something that it was told already"
            if not self.brain.cancelled():
                self.brain.result()
            await self.store.queue.reap(now=timestamp(self.clock.now()), alive=[])
        raise AssertionError("the session never came to rest")

    def _tools(self) -> Tools:
        hands = PlayedHands(self)
        outputs = Outputs(self.store, hands, self.clock, file_bytes_max=1)
        return Tools(self.store, hands, PlayedModel(self), outputs, self.clock, SETTINGS, jitter=lambda: 0.5)

    # --- what the log says -------------------------------------------------------------------------------------------

    async def row(self) -> SessionRow:
        row = await self.store.sessions.load(self.session_id)
        assert row is not None
        return row

    async def stored(self) -> list[StoredEvent]:
        return await self.store.log.read(self.session_id, private=True)

    async def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(event.data) for event in await self.stored()]

    async def open_calls(self) -> list[dict[str, Any]]:
        """Calls that wait for the client and that no input answers yet."""
        events = await self.events()
        waiting = [event for event in events if event["type"] == "agent.custom_tool_use"]
        waiting += [event for event in events if event.get("evaluated_permission") == "ask"]
        answered = await self.store.log.answered(self.session_id, [call["id"] for call in waiting])
        return [call for call in waiting if call["id"] not in {call_id for call_id, _ in answered}]

    # --- the client --------------------------------------------------------------------------------------------------

    async def move(self, move: Move) -> None:
        match move:
            case "message":
                await self.send(says())
            case "message and note":
                await self.send(says(), notes())
            case "interrupt":
                await self.send(UserInterrupt())
            case "redirect":
                await self.send(UserInterrupt(), says())
            case "answer one":
                await self.answer((await self.open_calls())[:1])
            case "answer all":
                await self.answer(await self.open_calls())
            case "deny all":
                await self.answer(await self.open_calls(), result="deny")

    async def answer(self, calls: Sequence[Mapping[str, Any]], result: Literal["allow", "deny"] = "allow") -> None:
        for waiting in calls:
            if waiting["type"] == "agent.custom_tool_use":
                content = [TextBlock(text="seen")]
                answer = UserCustomToolResult(custom_tool_use_id=waiting["id"], content=content)
                await self._commit(append, draft(answer, answers=waiting["id"]))
            else:
                await self.send(UserToolConfirmation(tool_use_id=waiting["id"], result=result))

    async def send(self, *events: Event) -> None:
        await self._commit(enqueue, *(draft(event, answers=getattr(event, "tool_use_id", None)) for event in events))

    async def _commit(self, write: Any, *drafts: EventDraft) -> None:
        now = timestamp(self.clock.now())
        statements = (*write(self.session_id, drafts, now=now), wake(self.session_id, at=now))
        await self.store.commit(Batch(statements, hints=hints(self.session_id, wakes=True)))

    async def happen(self, aside: Aside) -> None:
        """Does not return where the brain is expected to leave first."""
        match aside:
            case "message":
                await self.send(says())
            case "note":
                await self.send(says(), notes())
            case "answer" | "confirm":
                await self.move("answer all")
            case "interrupt":
                await self.send(UserInterrupt())
                await asyncio.Event().wait()
            case "crash" | "crash late":
                assert self.brain is not None
                self.brain.cancel()
                await asyncio.Event().wait()


def says() -> Event:
    return UserMessage(content=[TextBlock(text="Go on")])


def notes() -> Event:
    return SystemMessage(content=[TextBlock(text="Be brief")])


class PlayedModel:
    """Says what the plan says, reply by reply; when that is used up, it says that it is done."""

    name = "played"

    def __init__(self, play: Play) -> None:
        self._play = play

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Mapping[str, Any], None]:
        play, number = self._play, len(self._play.requests)
        play.requests.append([message.encoded for message in request.messages])
        said = play.plan.says[number] if number < len(play.plan.says) else Say()
        if said.ending in _FAILURES and said.ending != "broken":
            raise _FAILURES[said.ending]
        play.asides.append(said.tool_aside)
        blocks = _blocks(number, said)
        reason = _REASONS.get(said.ending, "tool_use" if said.calls else "end_turn")
        events = list(stream(*blocks, stop_reason=reason, cut=said.ending == "cut"))
        for event in events[: len(events) // 2]:
            yield event
        if said.aside != "crash late":
            await play.happen(said.aside)
        if said.ending in _FAILURES:
            raise _FAILURES[said.ending]
        for event in events[len(events) // 2 :]:
            yield event
        if said.aside == "crash late":
            await play.happen(said.aside)

    async def limits(self, model: str) -> ModelLimits:
        return ModelLimits()

    async def models(self) -> list[ModelCard]:
        return []


_REASONS = {"cut": "max_tokens", "refusal": "refusal", "pause": "pause_turn"}
_FAILURES = {
    "busy": ModelError("overloaded", "busy"),
    "broken": ModelError("unavailable", "broken"),
    "failed": ModelError("request_failed", "no"),
}


def _blocks(number: int, said: Say) -> list[Block]:
    thought = f"thought {number}"
    blocks = [thinking(thought, signature_of(thought))] if said.thinks else []
    seal = thinking_seal(blocks)
    blocks += [text(f"text {number}.{n}") for n in range(said.texts)]
    calls = [call(f"toolu_{number}{n}_{seal}", name, at=n) for n, name in enumerate(said.calls)]
    if said.ending == "pause":
        calls = [{"type": "server_tool_use", "id": f"srvtoolu_{number}", "name": "web_search", "input": {}}]
    if said.ending == "cut":
        calls.append(call(f"toolu_{number}cut_{seal}", "write", content="long"))
    return [*blocks, *calls] or [text("Well.")]


class PlayedHands:
    """Hands with a ledger that outlives the brain, as a sandbox's does."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._epoch = 0
        self._cancels: dict[str, asyncio.Event] = {}

    async def execute(
        self, spec: SandboxSpec, *, call_id: str, epoch: int, name: str, input: Mapping[str, Any]
    ) -> ToolResult:
        assert epoch >= self._epoch
        self._epoch, play = epoch, self._play
        aside = play.asides.pop() if play.asides else "nothing"
        if aside == "interrupt":
            await play.send(UserInterrupt())
            await self._cancels.setdefault(call_id, asyncio.Event()).wait()
            return ToolResult.text("the call was cancelled", is_error=True)
        if aside != "crash late":
            await play.happen(aside)
        play.runs[call_id] = play.runs.get(call_id, 0) + 1
        if aside == "crash late":
            await play.happen(aside)
        return ToolResult.text("done")

    async def lookup(self, session_id: str, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        return ToolResult.text("done") if call_id in self._play.runs else "unknown"

    async def cancel(self, session_id: str, call_id: str, *, epoch: int) -> None:
        self._cancels.setdefault(call_id, asyncio.Event()).set()

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        return []

    async def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        for chunk in (path.encode(),):
            yield chunk
