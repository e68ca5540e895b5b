"""Live streams over a real socket (contract/http.md, Server-sent events; behaviour/02 section 2.7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from anthropic import AsyncAnthropic

from roost.api.stream import FRAMES_MAX, Streams
from roost.core.clock import SystemClock
from roost.operations.resource import Live
from roost.store.protocols import Batch, preview_topic, session_topic
from roost.store.statements import append, draft, input_admit
from roost.wire.events.agent import AgentMessage, AgentThinking
from roost.wire.events.content import TextBlock
from roost.wire.events.preview import event_delta, event_start
from roost.wire.events.session import EndTurn, StatusIdle, StatusRunning
from roost.wire.events.span import ModelRequestEnd, ModelRequestStart, ModelUsage
from tests.contract.conftest import HEADERS, KEY, Served, body_of, listening, serving
from tests.contract.given import HELLO, a_session
from tests.contract.shape import whole

Frame = dict[str, str]


class Reader:
    """An open stream, read frame by frame; each wait is bounded."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def frame(self) -> Frame:
        """The next message as its fields."""
        found: Frame = {}
        async with asyncio.timeout(10):
            async for line in self._lines:
                if not line:
                    return found
                name, _, value = line.partition(": ")
                found[name] = value
        raise EOFError

    async def event(self) -> Any:
        return orjson.loads((await self.frame())["data"])

    async def rest(self) -> list[Frame]:
        """All messages until the server ends the stream."""
        frames = []
        while True:
            try:
                frames.append(await self.frame())
            except EOFError:
                return frames


@asynccontextmanager
async def reading(
    url: str, session_id: str, query: str = "", headers: dict[str, str] | None = None, path: str = "events/stream"
) -> AsyncIterator[Reader]:
    async with httpx2.AsyncClient(base_url=url, headers=HEADERS, timeout=10) as http:
        target = f"/v1/sessions/{session_id}/{path}{query}"
        async with http.stream("GET", target, headers=headers or {}) as response:
            assert response.status_code == 200, await response.aread()
            yield Reader(response)


def message(text: str) -> AgentMessage:
    return AgentMessage(content=[TextBlock(text=text)])


def span_end(start: ModelRequestStart) -> ModelRequestEnd:
    return ModelRequestEnd(model_request_start_id=start.id, is_error=False, model_usage=ModelUsage())


async def test_nothing_is_lost_between_opening_a_stream_and_sending(live: AsyncAnthropic, served: Served) -> None:
    for _ in range(5):
        session = await a_session(live)
        async with await live.beta.sessions.events.stream(session.id) as stream:
            sent = await live.beta.sessions.events.send(session.id, events=[HELLO])
            first = await anext(aiter(stream))
            assert sent.data == [whole(first)]


async def test_only_what_comes_after_the_attachment_is_delivered(served: Served, url: str) -> None:
    session = await a_session(served.client)
    await served.client.beta.sessions.events.send(session.id, events=[HELLO])
    await served.emit(session.id, message("before"))
    async with reading(url, session.id) as first:
        await served.emit(session.id, message("between"))
        async with reading(url, session.id) as second:
            await served.emit(session.id, message("after"))
            assert [(await first.event())["content"][0]["text"] for _ in range(2)] == ["between", "after"]
            assert (await second.event())["content"][0]["text"] == "after"


async def test_a_frame_is_named_by_its_type_and_only_a_durable_one_has_an_id(served: Served, url: str) -> None:
    session = await a_session(served.client)
    async with reading(url, session.id) as reader:
        assert reader.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["request-id"].startswith("req_")
        await served.client.beta.sessions.events.send(session.id, events=[HELLO])
        queued = await reader.frame()
        await served.emit(session.id, message("stored"))
        stored = await reader.frame()
    assert (queued["event"], "id" in queued) == ("user.message", False)
    assert (stored["event"], stored["id"]) == ("agent.message", "1")
    (row,) = await served.store.log.read(session.id)
    assert stored["data"].encode() == row.data


async def test_a_queued_event_is_seen_once_without_and_once_with_its_time(served: Served, url: str) -> None:
    session = await a_session(served.client)
    async with reading(url, session.id) as reader:
        await served.client.beta.sessions.events.send(session.id, events=[HELLO])
        queued = await reader.event()
        (entry,) = await served.store.log.inputs(session.id)
        admitted = (
            *append(session.id, [entry.draft()], now="2999-01-01T00:00:00.000000Z"),
            input_admit(session.id, entry.n, event_id=entry.id),
        )
        await served.store.commit(Batch(admitted, hints=(session_topic(session.id),)))
        processed = await reader.event()
        await served.emit(session.id, message("next"))
        assert (await reader.event())["type"] == "agent.message"
    assert (queued["id"], queued["processed_at"]) == (processed["id"], None)
    assert processed["processed_at"] is not None


async def test_a_lost_hint_costs_time_and_no_event(served: Served, url: str) -> None:
    session = await a_session(served.client)
    async with reading(url, session.id) as reader:
        drafts = append(session.id, [draft(message("unhinted"))], now="2026-01-01T00:00:00.000000Z")
        await served.store.commit(Batch(drafts))
        assert (await reader.event())["content"][0]["text"] == "unhinted"


async def test_many_readers_of_one_session_share_one_reader_of_the_log(
    served: Served, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await a_session(served.client)
    reads = 0
    read = served.store.log.read

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*args, **kwargs)

    async with httpx2.AsyncClient(base_url=url, headers=HEADERS, timeout=10) as http, asyncio.TaskGroup() as group:
        ready = [asyncio.Event() for _ in range(20)]

        async def one(opened: asyncio.Event) -> list[str]:
            async with http.stream("GET", f"/v1/sessions/{session.id}/events/stream") as response:
                opened.set()
                reader = Reader(response)
                return [(await reader.event())["id"] for _ in range(3)]

        tasks = [group.create_task(one(opened)) for opened in ready]
        for opened in ready:
            await opened.wait()
        monkeypatch.setattr(served.store.log, "read", counted)
        sent = [message(str(number)) for number in range(3)]
        for event in sent:
            await served.emit(session.id, event)
    assert [task.result() for task in tasks] == [[event.id for event in sent]] * 20
    assert reads < 20


async def test_a_silent_stream_is_pinged_and_the_sdk_does_not_notice(tmp_path: Path) -> None:
    async with serving(tmp_path, stream_ping_s=0.01) as served, listening(served.app) as url:
        session = await a_session(served.client)
        async with reading(url, session.id) as reader:
            assert await reader.frame() == {"event": "ping", "data": '{"type":"ping"}'}
        async with (
            AsyncAnthropic(base_url=url, api_key=KEY, _strict_response_validation=True) as live,
            await live.beta.sessions.events.stream(session.id) as stream,
            reading(url, session.id) as other,
        ):
            await other.frame()
            await served.emit(session.id, message("hello"))
            assert (await anext(aiter(stream))).type == "agent.message"


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_a_deleted_session_says_so_and_ends_its_streams(served: Served, url: str) -> None:
    session = await a_session(served.client)
    async with reading(url, session.id) as reader:
        await served.client.beta.sessions.delete(session.id)
        (frame,) = await reader.rest()
    event = orjson.loads(frame["data"])
    assert (frame["event"], event["type"], event.keys()) == (
        "session.deleted",
        "session.deleted",
        {"id", "type", "processed_at"},
    )


async def test_an_archived_session_ends_its_streams_with_its_status(served: Served, live: AsyncAnthropic) -> None:
    session = await a_session(served.client)
    async with await live.beta.sessions.events.stream(session.id) as stream:
        await served.client.beta.sessions.archive(session.id)
        types = [event.type async for event in stream]
    assert types == ["session.thread_status_terminated", "session.status_terminated"]
    async with await live.beta.sessions.events.stream(session.id) as stream:
        assert [event async for event in stream] == []


async def test_a_stopping_server_ends_its_streams_cleanly(served: Served, url: str) -> None:
    session = await a_session(served.client)
    async with reading(url, session.id) as reader:
        await served.emit(session.id, StatusRunning())
        await reader.frame()
        served.app.close()
        assert await reader.rest() == []


async def test_a_reader_that_is_too_slow_is_dropped_with_an_error_and_the_others_are_not(served: Served) -> None:
    """Below HTTP, where the reader's pace is in the test's hands: nothing is taken from one listener."""
    streams = Streams(served.store, SystemClock(), poll_s=1, ping_s=10)
    session = await a_session(served.client)
    slow, quick = await streams.open(Live(session.id)), await streams.open(Live(session.id))
    got = b""
    chunks = quick.chunks()
    for start in range(0, FRAMES_MAX + 100, 100):
        await served.emit(session.id, *(message(str(start + number)) for number in range(100)))
        while b'"text":"%d"' % (start + 99) not in got:
            got += await anext(chunks)
    left = b"".join([chunk async for chunk in slow.chunks()])
    assert left.startswith(b"event: error\n")
    assert orjson.loads(left.split(b"data: ")[1])["error"]["type"] == "overloaded_error"
    assert got.count(b"event: agent.message\n") == start + 100
    slow.close()
    quick.close()
    assert streams._feeds == {}


# --- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["header", "sequence number", "event id"])
async def test_a_stream_resumes_behind_an_event_without_gap_or_repeat(served: Served, url: str, by: str) -> None:
    session = await a_session(served.client)
    events = [message(str(number)) for number in range(5)]
    await served.emit(session.id, *events)
    query = {"header": "", "sequence number": "?after=2", "event id": f"?after={events[1].id}"}[by]
    headers = {"last-event-id": "2"} if by == "header" else {}
    async with reading(url, session.id, query, headers) as reader:
        last = message("live")
        await served.emit(session.id, last)
        got = [(await reader.event())["id"] for _ in range(4)]
    assert got == [event.id for event in (*events[2:], last)]


async def test_resuming_while_events_arrive_gives_each_once_in_order(served: Served, url: str) -> None:
    session = await a_session(served.client)
    events = [message(str(number)) for number in range(60)]

    async def write() -> None:
        for event in events:
            await served.emit(session.id, event)

    async def follow() -> list[str]:
        async with reading(url, session.id, "?after=0") as reader:
            return [(await reader.event())["id"] for _ in events]

    _, *followed = await asyncio.gather(write(), *(follow() for _ in range(5)))
    assert followed == [[event.id for event in events]] * 5


async def test_a_place_that_the_session_does_not_have_is_refused(served: Served) -> None:
    session = await a_session(served.client)
    for after in ("1", "sevt_unknown", "99999999999999999999999"):
        response = await served.http.get(f"/v1/sessions/{session.id}/events/stream?after={after}")
        assert response.status_code == 400
        assert body_of(response)["error"]["message"].startswith("after: ")


# --- previews --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["event_deltas[]=agent.tool_use", "&".join(["event_deltas[]=agent.message"] * 101)])
async def test_previews_of_other_types_or_too_many_are_refused(served: Served, query: str) -> None:
    session = await a_session(served.client)
    response = await served.http.get(f"/v1/sessions/{session.id}/events/stream?{query}")
    assert response.status_code == 400
    assert body_of(response)["error"]["message"].startswith("event_deltas[]")


def previewer(served: Served, session_id: str) -> Callable[[bytes], None]:
    return lambda payload: served.store.bus.publish(preview_topic(session_id), payload)


async def test_previews_come_to_those_who_asked_and_before_their_event(served: Served, url: str) -> None:
    session = await a_session(served.client)
    preview = previewer(served, session.id)
    start, thought, said = ModelRequestStart(), AgentThinking(), message("Hello you")
    asked, thinking, plain = "?event_deltas[]=agent.message", "?event_deltas=agent.thinking", ""
    async with (
        reading(url, session.id, asked) as one,
        reading(url, session.id, thinking) as two,
        reading(url, session.id, plain) as three,
    ):
        await served.emit(session.id, start)
        preview(event_start(thought.id, "agent.thinking"))
        preview(event_start(said.id, "agent.message"))
        preview(event_delta(said.id, 0, "Hello "))
        preview(event_delta(said.id, 0, "you"))
        previewed = {one: ["event_start", "event_delta", "event_delta"], two: ["event_start"], three: []}
        for reader, types in previewed.items():
            await expect(reader, ["span.model_request_start", *types])
        await served.emit(session.id, thought, said, span_end(start))
        for reader in previewed:
            await expect(reader, ["agent.thinking", "agent.message", "span.model_request_end"])


async def expect(reader: Reader, types: list[str]) -> None:
    """The next frames are of these types, and those that are stored are numbered."""
    frames = [await reader.frame() for _ in types]
    assert [frame["event"] for frame in frames] == types
    assert all(("id" in frame) != frame["event"].startswith("event_") for frame in frames)


async def test_the_sdks_accumulator_builds_the_message_from_its_previews(served: Served, live: AsyncAnthropic) -> None:
    session = await a_session(served.client)
    preview = previewer(served, session.id)
    start, said = ModelRequestStart(), message("Hello you")
    async with await live.beta.sessions.events.stream(session.id, event_deltas=["agent.message"]) as stream:
        await served.emit(session.id, start)
        preview(event_start(said.id, "agent.message"))
        for text in ("Hello ", "you"):
            preview(event_delta(said.id, 0, text))
        await served.emit(session.id, said, span_end(start), StatusIdle(stop_reason=EndTurn()))
        text = ""
        async for event in stream:
            if event.type == "event_start":
                assert event.event.id == said.id
            elif event.type == "event_delta":
                text += event.delta.content.text
            elif event.type == "agent.message":
                assert (event.id, event.content[0].to_dict()["text"]) == (said.id, text)
            elif event.type == "session.status_idle":
                break
    assert text == "Hello you"


async def test_a_connection_that_opens_in_mid_message_gets_no_pieces_of_it(served: Served, url: str) -> None:
    session = await a_session(served.client)
    preview = previewer(served, session.id)
    said, query = message("Hello"), "?event_deltas[]=agent.message"
    async with reading(url, session.id, query) as early:
        preview(event_start(said.id, "agent.message"))
        assert (await early.frame())["event"] == "event_start"
        async with reading(url, session.id, query) as late:
            preview(event_delta(said.id, 0, "Hello"))
            assert (await early.frame())["event"] == "event_delta"
            await served.emit(session.id, said)
            assert (await late.frame())["event"] == "agent.message"


async def test_a_preview_that_arrives_after_its_event_is_dropped(served: Served, url: str) -> None:
    session = await a_session(served.client)
    preview = previewer(served, session.id)
    said, died, start = message("Hello"), message("never stored"), ModelRequestStart()
    async with reading(url, session.id, "?event_deltas[]=agent.message") as reader:
        await served.emit(session.id, said)
        assert (await reader.frame())["event"] == "agent.message"
        preview(event_start(said.id, "agent.message"))
        preview(event_delta(said.id, 0, "Hello"))
        await served.emit(session.id, start)
        preview(event_start(died.id, "agent.message"))
        assert [(await reader.frame())["event"] for _ in range(2)] == ["span.model_request_start", "event_start"]
        await served.emit(session.id, span_end(start))
        assert (await reader.frame())["event"] == "span.model_request_end"
        preview(event_delta(died.id, 0, "too late"))
        await served.emit(session.id, StatusRunning())
        assert (await reader.frame())["event"] == "session.status_running"


async def test_the_thread_stream_shows_the_primary_thread_with_previews(served: Served, url: str) -> None:
    session = await a_session(served.client)
    (thread,) = (await served.client.beta.sessions.threads.list(session.id)).data
    said = message("Hello")
    path = f"threads/{thread.id}/stream"
    async with reading(url, session.id, "?event_deltas[]=agent.message", path=path) as reader:
        previewer(served, session.id)(event_start(said.id, "agent.message"))
        await served.emit(session.id, said)
        assert [(await reader.frame())["event"] for _ in range(2)] == ["event_start", "agent.message"]


async def test_a_client_that_goes_is_noticed_and_nobody_listens_for_it_any_more(
    served: Served, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await a_session(served.client)
    left = asyncio.Event()
    leave = Streams.leave

    def noted(self: Streams, listener: Any) -> None:
        leave(self, listener)
        left.set()

    monkeypatch.setattr(Streams, "leave", noted)
    before = asyncio.all_tasks()
    async with reading(url, session.id, "?event_deltas[]=agent.message"):
        feeding = [task for task in asyncio.all_tasks() - before if "_guarded" in repr(task)]
        assert served.store.bus.listened(session_topic(session.id))
        assert served.store.bus.listened(preview_topic(session.id))
    async with asyncio.timeout(10):
        await left.wait()
        await asyncio.wait(feeding)
    assert not served.store.bus.listened(session_topic(session.id))
    assert not served.store.bus.listened(preview_topic(session.id))
