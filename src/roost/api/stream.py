"""Live event streams: one reader for each session, shared by everybody who listens to it (engine.md section 2).

A feed subscribes to the hints of its session, reads what is new behind its cursor, and makes each frame once. The
cursor is a pair: the sequence number of the last event and the number of the last input, so that a queued input is seen
once without a time and once with it, and no event twice. A slow poll stands behind the hints, which may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from roost.api.previews import Preview, Previews
from roost.core.clock import Clock, timestamp
from roost.operations.resource import Live
from roost.store.protocols import Store, StoredEvent, Subscription, preview_topic, session_topic
from roost.wire.errors import ApiError
from roost.wire.events.session import SessionDeleted

log = logging.getLogger(__name__)

FRAMES_MAX = 1_024
"""Frames that wait for one listener; a slower one is dropped."""
PAGE = 100
_Follow = Callable[[asyncio.Event], Awaitable[None]]
"""Follows something until cancelled; sets the event once its subscription stands."""

PING = b'event: ping\ndata: {"type":"ping"}\n\n'


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE message. `seq` is 0 for what is not in the log, and so carries no `id:` line."""

    type: str
    data: bytes
    seq: int = 0

    def encode(self) -> bytes:
        id_line = b"id: %d\n" % self.seq if self.seq else b""
        return b"event: %b\n%bdata: %b\n\n" % (self.type.encode(), id_line, self.data)


class Listener:
    """One open stream. `seq` and `n` say what it does not want again."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.seq, self.n = 0, 0
        self.previewed = ""
        """The preview whose beginning it saw last; it gets no pieces of others."""
        self._frames: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._over = False

    def push(self, frame: bytes) -> None:
        if len(self._frames) >= FRAMES_MAX:
            self._frames.clear()
            self.fail(ApiError(529, "The stream was read too slowly; list the events and open a new one."))
        if not self._over:
            self._frames.append(frame)
            self._ready.set()

    def fail(self, error: ApiError) -> None:
        self._frames.append(Frame("error", error.envelope("")).encode())
        self.end()

    def end(self) -> None:
        """Ends the stream after what is waiting already."""
        self._over = True
        self._ready.set()

    async def chunks(self, ping_s: float) -> AsyncIterator[bytes]:
        """What to send, several frames in one chunk, and a ping after each silence of `ping_s` seconds."""
        while self._frames or not self._over:
            try:
                async with asyncio.timeout(ping_s):
                    await self._ready.wait()
            except TimeoutError:
                yield PING
                continue
            waiting, self._frames = self._frames, deque()
            self._ready.clear()
            if waiting:
                yield b"".join(waiting)


class Feed:
    """The one reader of a session's log in this process."""

    def __init__(self, store: Store, clock: Clock, session_id: str, poll_s: float) -> None:
        self._store = store
        self._clock = clock
        self._session_id = session_id
        self._poll_s = poll_s
        self._joining: set[Listener] = set()
        self._listeners: set[Listener] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reading = asyncio.Lock()
        self._previews = Previews()
        self._arriving: Subscription | None = None
        self.seq, self.n = 0, 0

    async def add(self, listener: Listener) -> int:
        """Delivers to the listener what is emitted from now on; returns the number that its backlog ends with.

        Nothing is read between finding the end of the log and listening behind it: no event can fall in between.
        """
        self._joining.add(listener)
        await self._start("log", self._follow_log)
        if listener.live.deltas:
            await self._start("previews", self._follow_previews)
        async with self._reading:
            seq, listener.n = await self._end_of_log()
            listener.seq = seq if listener.live.after is None else listener.live.after
            self._listeners.add(listener)
            return self.seq

    def remove(self, listener: Listener) -> bool:
        """True when nobody listens any more and the feed has stopped."""
        self._joining.discard(listener)
        self._listeners.discard(listener)
        if self._joining:
            return False
        for task in self._tasks.values():
            task.cancel()
        return True

    def end(self) -> None:
        for listener in self._listeners:
            listener.end()

    # --- following ---------------------------------------------------------------------------------------------------

    async def _start(self, name: str, follow: _Follow) -> None:
        """Returns once the subscription stands, so that nothing published afterwards is missed."""
        if name not in self._tasks or self._tasks[name].done():
            ready = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._guarded(follow(ready), ready))
            await ready.wait()

    async def _guarded(self, work: Awaitable[None], ready: asyncio.Event) -> None:
        """A feed that fails ends its streams with an error: clients list and open a new one."""
        try:
            await work
        except Exception:
            log.exception("the streams of session %s failed", self._session_id)
            for listener in self._listeners:
                listener.fail(ApiError(500, "The stream failed; list the events and open a new one."))
        finally:
            ready.set()

    async def _follow_log(self, ready: asyncio.Event) -> None:
        async with self._store.bus.subscribe(session_topic(self._session_id)) as hints:
            self.seq, self.n = await self._end_of_log()
            ready.set()
            while True:
                await hints.wait(self._poll_s)
                async with self._reading:
                    await self._read()
                    self._show(self._previews.rest())

    async def _follow_previews(self, ready: asyncio.Event) -> None:
        """Pieces of a preview that is shown already go out without a look at the log."""
        async with self._store.bus.subscribe(preview_topic(self._session_id)) as arriving:
            self._arriving = arriving
            ready.set()
            while True:
                await arriving.wait()
                async with self._reading:
                    self._previews.add(arriving.take())
                    if self._previews.begins:
                        await self._read()
                    self._show(self._previews.rest())

    async def _end_of_log(self) -> tuple[int, int]:
        row = await self._store.sessions.load(self._session_id)
        return (row.last_seq, await self._store.log.last_input(self._session_id)) if row else (0, 0)

    # --- emitting ----------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Emits what is new: inputs first, since one may be admitted between the two reads and then is in both.

        Waiting previews are taken after the reads: they include whatever was published before the events just read.
        """
        more = True
        while more:
            inputs = await self._store.log.inputs(self._session_id, after=self.n, waiting=False)
            events = await self._store.log.read(self._session_id, after=self.seq, limit=PAGE)
            self._previews.add(self._arriving.take() if self._arriving else ())
            for entry in inputs:
                self.n = entry.n
                self._emit(Frame(entry.type, entry.data), n=entry.n)
            for event in events:
                self._emit_stored(event)
            more = len(events) == PAGE
        if not inputs and not events and await self._store.sessions.load(self._session_id) is None:
            self._emit_deleted()

    def _emit_stored(self, event: StoredEvent) -> None:
        self.seq = event.seq
        self._show(self._previews.before(event.type, event.id))
        self._emit(Frame(event.type, event.data, event.seq))
        if event.type == "session.status_terminated":
            self.end()

    def _emit(self, frame: Frame, *, n: int = 0) -> None:
        encoded = frame.encode()
        for listener in self._listeners:
            if frame.seq > listener.seq or n > listener.n:
                listener.push(encoded)

    def _emit_deleted(self) -> None:
        time = timestamp(self._clock.now())
        frame = Frame("session.deleted", SessionDeleted().head() + f'"{time}"}}'.encode()).encode()
        for listener in self._listeners:
            listener.push(frame)
        self.end()

    def _show(self, previews: Iterable[Preview]) -> None:
        """To those who asked for the type, and of a preview's pieces only to those who saw it begin."""
        for preview in previews:
            encoded = Frame(preview.type, preview.payload).encode()
            for listener in self._listeners:
                if preview.kind in listener.live.deltas:
                    listener.previewed = preview.event_id
                if preview.event_id == listener.previewed:
                    listener.push(encoded)


class Streams:
    """All open streams of this process."""

    def __init__(self, store: Store, clock: Clock, *, poll_s: float, ping_s: float) -> None:
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self.ping_s = ping_s
        self._feeds: dict[str, Feed] = {}
        self._attaching = asyncio.Lock()

    async def open(self, live: Live) -> OpenStream:
        """Attached when this returns: what is emitted from then on will be delivered."""
        listener = Listener(live)
        if live.ended:
            listener.end()
            return OpenStream(self, listener, 0)
        async with self._attaching:
            feed = self._feeds.get(live.session_id)
            if feed is None:
                feed = self._feeds[live.session_id] = Feed(self._store, self._clock, live.session_id, self._poll_s)
            try:
                backlog_end = await feed.add(listener)
            except BaseException:
                self.leave(listener)
                raise
        return OpenStream(self, listener, backlog_end)

    def close(self) -> None:
        """Ends every stream cleanly; the clients list and open new ones elsewhere."""
        for feed in self._feeds.values():
            feed.end()

    def leave(self, listener: Listener) -> None:
        feed = self._feeds.get(listener.live.session_id)
        if feed is not None and feed.remove(listener):
            del self._feeds[listener.live.session_id]

    async def backlog(self, live: Live, end: int) -> AsyncIterator[bytes]:
        """The stored frames behind `live.after`, up to and with number `end`."""
        seq = end if live.after is None else live.after
        while seq < end:
            events = await self._store.log.read(live.session_id, after=seq, before=end + 1, limit=PAGE)
            if not events:
                return
            seq = events[-1].seq
            yield b"".join(Frame(event.type, event.data, event.seq).encode() for event in events)


class OpenStream:
    """A stream from its attachment to its end."""

    def __init__(self, streams: Streams, listener: Listener, backlog_end: int) -> None:
        self._streams = streams
        self._listener = listener
        self._backlog_end = backlog_end

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._streams.backlog(self._listener.live, self._backlog_end):
            yield chunk
        async for chunk in self._listener.chunks(self._streams.ping_s):
            yield chunk

    def hang_up(self) -> None:
        """The client is gone."""
        self._listener.end()

    def close(self) -> None:
        self._streams.leave(self._listener)
