"""That nothing gets slower as a log grows, and what following a session costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import apsw
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.http import connected
from benchmarks.measure import Finding, against, timed
from benchmarks.rig import HEADERS, Rig, plan
from roost.core.clock import SystemClock, timestamp
from roost.server import Running
from roost.store.protocols import Batch
from roost.store.statements import append, draft, hints
from roost.wire.events.agent import AgentMessage
from roost.wire.events.content import TextBlock

SHORT, LONG = 100, 10_000
PAGES = 20
READERS = 100
SPREAD = 200
FRAME = b'event: agent.message\nid: sevt_01\ndata: {"type":"agent.message","content":"' + b"x" * 300 + b'"}\n\n'


async def _filled(rig: Rig, server: Running, events: int) -> str:
    """A session with a log of so many events."""
    session = await rig.session()
    message = AgentMessage(content=[TextBlock(text="x" * 300)])
    for _ in range(events // 100):
        drafts = [draft(message.model_copy(update={"id": AgentMessage(content=[]).id})) for _ in range(100)]
        await server.store.commit(Batch(append(session, drafts, now=timestamp(SystemClock().now()))))
    return session


async def growth(rig: Rig, server: Running) -> list[Finding]:
    short, long = await _filled(rig, server, SHORT), await _filled(rig, server, LONG)

    def page(session: str) -> Callable[[], Awaitable[float]]:
        async def pages() -> float:
            async with rig.connect() as connection:

                async def ask() -> None:
                    for _ in range(PAGES):
                        await connection.request("GET", f"/v1/sessions/{session}/events?limit=100")

                return await timed(ask)

        return pages

    def turn(session: str) -> Callable[[], Awaitable[float]]:
        async def turns() -> float:
            async with rig.chat(session) as chat:

                async def talk() -> None:
                    for _ in range(PAGES):
                        await chat.turn(plan([{"text": "hello"}]))

                return await timed(talk)

        return turns

    return [
        await against(f"first page of a log of {LONG:,} events over {SHORT}", page(long), page(short), at_most=1.2),
        await against(f"turn on a log of {LONG:,} events over {SHORT}", turn(long), turn(short), at_most=1.2),
    ]


async def spread(rig: Rig, server: Running) -> Finding:
    """The same events to the same readers: through the log, and by a bare broadcaster that syncs each to a file."""
    session = await rig.session()
    message = AgentMessage(content=[TextBlock(text="x" * 300)])

    async def publish() -> None:
        for _ in range(SPREAD):
            event = draft(message.model_copy(update={"id": AgentMessage(content=[]).id}))
            statements = append(session, [event], now=timestamp(SystemClock().now()))
            await server.store.commit(Batch(statements, hints=hints(session)))

    async def ours() -> float:
        return await _fan_out(rig, f"{server.url}/v1/sessions/{session}/events/stream", publish)

    queues: set[asyncio.Queue[bytes]] = set()

    async def bare(request: Request) -> StreamingResponse:
        async def frames() -> AsyncIterator[bytes]:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            queues.add(queue)
            try:
                yield b": attached\n\n"
                while True:
                    yield await queue.get()
            finally:
                queues.discard(queue)

        return StreamingResponse(frames(), media_type="text/event-stream")

    connection = apsw.Connection(str(rig.folder / "broadcast.db"))
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.execute("CREATE TABLE events (data BLOB)")

    async def broadcast() -> None:
        for _ in range(SPREAD):
            connection.execute("INSERT INTO events VALUES (?)", (FRAME,))
            for queue in queues:
                queue.put_nowait(FRAME)
            await asyncio.sleep(0)

    app = Starlette(routes=[Route("/", bare)])
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    broadcaster = uvicorn.Server(config)
    task = asyncio.create_task(broadcaster._serve())
    while not broadcaster.started:  # noqa: ASYNC110  (uvicorn tells in no other way)
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{broadcaster.servers[0].sockets[0].getsockname()[1]}/"

    async def floor() -> float:
        return await _fan_out(rig, url, broadcast)

    try:
        return await against(f"{SPREAD} events to {READERS} readers of one session", ours, floor, at_most=1.5)
    finally:
        broadcaster.should_exit = True
        await task


async def _fan_out(rig: Rig, url: str, publish: Callable[[], Awaitable[None]]) -> float:
    """From the first event published until every reader has them all."""
    attached = asyncio.Semaphore(0)

    async def read() -> None:
        async with connected(url, HEADERS | {"x-api-key": rig.key}) as connection:
            names = await connection.events(urlsplit(url).path)
            attached.release()
            seen = 0
            async for name in names:
                seen += name == "agent.message"
                if seen == SPREAD:
                    return

    readers = [asyncio.create_task(read()) for _ in range(READERS)]
    for _ in readers:
        await attached.acquire()

    async def spread_all() -> None:
        await publish()
        await asyncio.gather(*readers)

    return await timed(spread_all)
