"""A Messages API on loopback that answers from a script and refuses what the real one refuses.

    async with MessagesServer([reply(tool_use("bash", {"command": "ls"})), reply("Done.")]) as server:
        provider = AnthropicProvider("key", server.url)

It runs on the test's own event loop. A refusal that nobody asked for fails the test when the server closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from uvicorn.lifespan.off import LifespanOff

from tests.messages_server.cache import PromptCache
from tests.messages_server.frames import frames_of
from tests.messages_server.models import MODELS
from tests.messages_server.refusal import Refusal
from tests.messages_server.replies import Answer, Broken, Delay, Ended, Hold, HttpError, Reply, Stall
from tests.messages_server.rules import check_headers, check_request

WAIT_S = 10.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Mapping[str, Any]], Any]


@dataclass
class Request:
    """One `POST /v1/messages` as it came in."""

    headers: Mapping[str, str]
    raw: bytes
    body: Mapping[str, Any]
    client: tuple[str, int] = ("", 0)
    """Address and port of the connection it came over."""
    refusal: Refusal | None = None
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client left before the reply was complete; seen while a Hold or a Stall waits."""

    @property
    def turn(self) -> int:
        """The number of replies the model has given in this conversation."""
        return sum(1 for message in self.body["messages"] if message["role"] == "assistant")


Script = Callable[[Request], Answer]


def in_order(answers: Iterable[Answer]) -> Script:
    """One answer after the other, whoever asks."""
    left: Iterator[Answer] = iter(answers)

    def script(request: Request) -> Answer:
        return next(left, None) or _exhausted()

    return script


def by_turn(answers: Sequence[Answer]) -> Script:
    """The answer whose number is that of the model's replies so far: the same for every session, and after a restart.

    A retry gets the same answer again, so an HTTP error can only be the last one.
    """

    def script(request: Request) -> Answer:
        return answers[request.turn] if request.turn < len(answers) else _exhausted()

    return script


def _exhausted() -> Answer:
    raise Refusal("the script has no further reply")


class MessagesServer:
    """See the module. `script` is a list of answers, played in order, or a function of the request.

    `expect_refusals` for tests that want some; `strict=False` leaves the checks out, for long histories in benchmarks.
    `requests` keeps every request for a reply, `gets` the paths of all others, `refusals` what was refused.
    """

    def __init__(
        self,
        script: Script | Iterable[Answer],
        *,
        port: int = 0,
        strict: bool = True,
        expect_refusals: bool = False,
        seen: Callable[[Request], object] | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.gets: list[str] = []
        self._script = script if callable(script) else in_order(script)
        self._strict = strict
        self._expect_refusals = expect_refusals
        self._seen = seen
        self._cache = PromptCache()
        self._arrived = asyncio.Condition()
        self._crash: Exception | None = None
        self._handlers: set[asyncio.Task[Any]] = set()
        config = uvicorn.Config(
            self._app,
            port=port,
            interface="asgi3",
            http="httptools",
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            log_config=None,
            log_level="critical",
        )
        config.load()
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.lifespan = LifespanOff(config)

    @property
    def refusals(self) -> list[Refusal]:
        return [request.refusal for request in self.requests if request.refusal]

    @property
    def bodies(self) -> list[Mapping[str, Any]]:
        return [request.body for request in self.requests]

    async def __aenter__(self) -> MessagesServer:
        await self._uvicorn.startup()
        port = self._uvicorn.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, type: object, failure: BaseException | None, traceback: object) -> None:
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        self._uvicorn.force_exit = True
        await self._uvicorn.shutdown()
        if self._crash:
            raise self._crash
        if failure is None and self.refusals and not self._expect_refusals:
            raise AssertionError(f"the model server refused a request: {self.refusals[0]}")

    async def asked(self, count: int) -> Request:
        """Waits until `count` requests have come in, and gives the last of them. Raises TimeoutError."""
        async with self._arrived, asyncio.timeout(WAIT_S):
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    # --- serving -----------------------------------------------------------------------------------------------------

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            await self._serve(scope, receive, send)
        except _Cut:
            raise
        except Exception as crash:
            self._crash = crash
            raise
        finally:
            self._handlers.discard(handler)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        raw = await _read(receive)
        try:
            check_headers(headers)
            if scope["method"] == "GET":
                self.gets.append(scope["path"])
                await _send_json(send, 200, _models(scope["path"]))
            elif scope["path"] == "/v1/messages":
                await self._messages(Request(headers, raw, _json(raw), scope["client"]), receive, send)
            else:
                raise Refusal("Not Found", 404, "not_found_error")
        except Refusal as refusal:
            await _send_error(send, HttpError(refusal.status, refusal.type, str(refusal)))

    async def _messages(self, request: Request, receive: Receive, send: Send) -> None:
        try:
            if self._strict:
                check_request(request.headers, request.body)
            answer = self._script(request)
        except Refusal as refusal:
            request.refusal = refusal
            raise
        finally:
            await self._record(request)
        if isinstance(answer, HttpError):
            await _send_error(send, answer)
        else:
            await self._stream(request, answer, receive, send)

    async def _record(self, request: Request) -> None:
        if self._seen:
            self._seen(request)
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()

    async def _stream(self, request: Request, reply: Reply, receive: Receive, send: Send) -> None:
        """Plays the frames; those with no control between them go out in one piece."""
        usage = self._cache.charge(request.body) if self._strict else {"input_tokens": len(request.raw) // 4}
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"request-id", b"req_test")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        waiting: list[bytes] = []
        for frame in frames_of(reply, request.body, usage):
            if isinstance(frame, bytes):
                waiting.append(frame)
                if b'{"type":"error"' in frame:
                    break
                continue
            await _send_part(send, b"".join(waiting))
            waiting.clear()
            match frame:
                case Ended():
                    break
                case Broken():
                    raise _Cut
                case Delay(seconds):
                    if not await _holds(asyncio.Event(), request, receive, seconds):
                        return
                case Hold(until):
                    if not await _holds(until, request, receive):
                        return
                case Stall():
                    await _holds(asyncio.Event(), request, receive)
                    return
        await send({"type": "http.response.body", "body": b"".join(waiting)})


class _Cut(Exception):
    """Makes the web server drop the connection."""


async def _holds(until: asyncio.Event, request: Request, receive: Receive, seconds: float | None = None) -> bool:
    """Waits for the event, or so long; False when the client left first."""
    waits = [asyncio.ensure_future(until.wait()), asyncio.ensure_future(receive())]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if waits[1] not in done or until.is_set():
        return True
    request.hung_up.set()
    return False


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _json(raw: bytes) -> Any:
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(raw)
    raise Refusal("The request body is not valid JSON")


def _models(path: str) -> Mapping[str, Any]:
    if path == "/v1/models":
        ids = list(MODELS)
        return {"data": list(MODELS.values()), "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
    model = MODELS.get(path.removeprefix("/v1/models/"))
    if model is None:
        raise Refusal(f"model: {path.rpartition('/')[2]}", 404, "not_found_error")
    return model


async def _send_part(send: Send, data: bytes) -> None:
    if data:
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _send_json(send: Send, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
    await _send_whole(send, status, orjson.dumps(value), {"content-type": "application/json", **(headers or {})})


async def _send_whole(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _send_error(send: Send, failure: HttpError) -> None:
    if failure.body is not None:
        await _send_whole(send, failure.status, failure.body.encode(), failure.headers)
        return
    envelope = {"type": "error", "error": {"type": failure.type, "message": failure.message}, "request_id": "req_test"}
    await _send_json(send, failure.status, envelope, failure.headers)
