"""A session as its client sees it: what it sends, and every event that its stream has brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from anthropic import AsyncAnthropic

from tests.rig.grammar import broken_rules
from tests.rig.waiting import WAIT_S, until

T = TypeVar("T")
Event = dict[str, Any]


class Chat:
    """One session. Everything that waits is bounded by `WAIT_S` and names what it waited for when it fails."""

    def __init__(self, client: AsyncAnthropic, session_id: str) -> None:
        self.id = session_id
        self.seen: list[Event] = []
        """Everything the stream brought since it was opened, previews too, in order."""
        self._client = client
        self._news = asyncio.Condition()
        self._ended: BaseException | None = None

    @asynccontextmanager
    async def follow(self, previews: Sequence[Any] = ()) -> AsyncIterator[None]:
        deltas: dict[str, Any] = {"event_deltas": previews} if previews else {}
        stream = await self._client.beta.sessions.events.stream(self.id, **deltas)
        async with stream:
            reader = asyncio.create_task(self._read(stream))
            try:
                yield
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, stream: Any) -> None:
        try:
            async for event in stream:
                async with self._news:
                    self.seen.append(event.to_dict(mode="json"))
                    self._news.notify_all()
        except Exception as failure:
            async with self._news:
                self._ended = failure
                self._news.notify_all()

    # --- sending -----------------------------------------------------------------------------------------------------

    async def send(self, *events: Any) -> list[Event]:
        sent = await self._client.beta.sessions.events.send(self.id, events=list(events))
        return [event.to_dict(mode="json") for event in sent.data or ()]

    async def say(self, *texts: str) -> None:
        await self.send(*map(says, texts))

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def until(self, found: Callable[[list[Event]], T | None], what: str) -> T:
        """What `found` makes of the events seen, as soon as it is something."""
        try:
            async with self._news, asyncio.timeout(WAIT_S):
                while (value := found(self.seen)) is None or value is False:
                    if self._ended:
                        raise self._ended
                    await self._news.wait()
        except TimeoutError:
            seen = "\n  ".join(str(event) for event in self.seen[-30:])
            raise AssertionError(f"waited {WAIT_S} s for {what}; the stream brought\n  {seen}") from None
        return value

    async def event(self, type: str, nth: int = 1, **fields: Any) -> Event:
        """The nth event of a type, with these fields."""

        def found(seen: list[Event]) -> Event | None:
            hits = [event for event in seen if event["type"] == type and fields.items() <= event.items()]
            return hits[nth - 1] if len(hits) >= nth else None

        return await self.until(found, f"event {nth} of type {type} {fields or ''}")

    async def idle(self, nth: int = 1) -> Event:
        """The nth idle since the stream was opened; returns its stop reason."""
        reason: Event = (await self.event("session.status_idle", nth))["stop_reason"]
        return reason

    async def rests(self) -> None:
        """Polls until the session is idle, as a client without a stream does."""

        async def idle() -> bool:
            return (await self._client.beta.sessions.retrieve(self.id)).status == "idle"

        await until(idle, "the session to be idle")

    # --- looking back ------------------------------------------------------------------------------------------------

    async def events(self, *types: str) -> list[Event]:
        """What the list of events holds, only some types where they are named."""
        pages = self._client.beta.sessions.events.list(self.id, limit=1000)
        listed = [event.to_dict(mode="json") async for event in pages]
        return [event for event in listed if not types or event["type"] in types]

    async def texts(self) -> list[str]:
        """What the agent said, message by message."""
        said = await self.events("agent.message")
        return ["".join(block["text"] for block in event["content"]) for event in said]

    async def result_of(self, call_id: str) -> Event:
        (result,) = [event for event in await self.events("agent.tool_result") if event["tool_use_id"] == call_id]
        return result

    async def check(self) -> list[Event]:
        """The whole log, after holding it against the rules and the end of it against what the stream brought."""
        listed = await self.events()
        assert broken_rules(listed) == []
        assert [event for event in listed if event["processed_at"] is None] == []
        stored = [event for event in self.seen if event.get("processed_at")]
        if stored:
            first = next(place for place, event in enumerate(listed) if event["id"] == stored[0]["id"])
            assert stored == listed[first : first + len(stored)]
        return listed


def says(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


INTERRUPT: Event = {"type": "user.interrupt"}


def allows(call_id: str) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": "allow"}


def denies(call_id: str, why: str | None = None) -> Any:
    message = {"deny_message": why} if why else {}
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": "deny", **message}


def answers(call_id: str, text: str) -> Any:
    content = [{"type": "text", "text": text}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, "content": content}


def text_of(event: Event) -> str:
    """The text of a message or a result."""
    return "".join(block.get("text", "") for block in event["content"] or ())
