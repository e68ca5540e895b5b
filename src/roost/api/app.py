"""The one dispatcher: every call of the API takes the steps of `_respond`, in that order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from roost.api.auth import Authenticator, check_gate, check_version
from roost.api.body import Nothing, json_body, query
from roost.api.limits import RateLimiter, check_head
from roost.api.openapi import document
from roost.api.responses import EventStreamResponse, download_response, error_response, json_response
from roost.api.routes import Routes
from roost.api.stream import Streams
from roost.api.uploads import upload
from roost.core.clock import Clock, timestamp
from roost.core.ids import new_id
from roost.core.settings import Settings
from roost.operations.polling import Polling
from roost.operations.resource import Context, Download, Endpoint, Live, Outcome, Reply, Write
from roost.operations.table import OPERATOR_TABLE, TABLE, USER_TABLE
from roost.operations.tools import warnings_in
from roost.store.protocols import Conflict, Replay, Statement, Store, StoreError
from roost.store.statements import replay_insert, replays_expire
from roost.wire.errors import ApiError, conflict, invalid, not_built
from roost.wire.messages import ModelProvider

log = logging.getLogger(__name__)

CONFLICT_TRIES = 5
"""How often an operation runs when what it read keeps changing under it."""
IDEMPOTENCY_KEY_CHARS_MAX = 255
OPERATOR_CALLS = frozenset(endpoint.name for endpoint in OPERATOR_TABLE)
OPEN_PATHS = ("/roost/v1/health",)
"""Calls that need no key."""


def create_app(
    *,
    store: Store,
    clock: Clock,
    settings: Settings,
    admin_key_hash: str,
    models: ModelProvider,
    doctor: Callable[[], Mapping[str, Any]] = dict,
) -> App:
    """The ASGI application. To be made on the event loop that serves it; `close` ends its open streams.

    `admin_key_hash` is the digest of the operator's key.
    """
    context = Context(store, clock, models, workspace_id="", polling=Polling(clock), doctor=doctor)
    return App(context, settings, admin_key_hash)


class App:
    """The whole HTTP side."""

    def __init__(self, context: Context, settings: Settings, admin_key_hash: str) -> None:
        self._context = context
        self._settings = settings
        self._routes = Routes((*TABLE, *USER_TABLE, *OPERATOR_TABLE))
        self._auth = Authenticator(context.store, context.clock, admin_key_hash, settings.api_key)
        self._limiter = RateLimiter(settings.rate_limits, context.clock)
        self._streams = Streams(context.store, context.clock, poll_s=settings.poll_s, ping_s=settings.stream_ping_s)

    def close(self) -> None:
        """Ends the open streams; the calls that are running go on."""
        self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(f"{scope['type']} is not served")
        request_id = new_id("req")
        try:
            response = await self._answer(Request(scope, receive), request_id)
        except ClientDisconnect:
            return
        response.headers["request-id"] = request_id
        await response(scope, receive, send)

    async def _answer(self, request: Request, request_id: str) -> Response:
        """The response, whatever happens on the way: nothing of our own faults is shown but the request's id."""
        try:
            return await self._respond(request)
        except ApiError as error:
            return error_response(error, request_id)
        except StoreError as error:
            log.error("%s: the store refused: %s", request_id, error)
            return error_response(ApiError(503, "The server cannot write now; nothing was changed."), request_id)
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("%s %s %s failed", request_id, request.method, request.scope["path"])
            return error_response(ApiError(500, "The server failed; its log has the details."), request_id)

    async def _respond(self, request: Request) -> Response:
        check_head(request.scope["path"], request.scope["query_string"], request.headers)
        if request.scope["path"] == "/openapi.json" and request.method == "GET":
            return json_response(Reply(document()))
        endpoint, ids = self._routes.match(request.method, request.scope["path"])
        context = await self._authenticated(request, endpoint, ids)
        check_version(request.headers)
        check_gate(endpoint.gate, request.headers)
        self._limiter.take(context.workspace_id, endpoint.rate)
        if endpoint.run is None:
            raise not_built(endpoint.name)
        arguments, digest = await self._parsed(endpoint, request)
        outcome = await self._outcome(endpoint, context, {**ids, **arguments}, _replay_key(request, context), digest)
        return await self._dumped(outcome)

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def _authenticated(self, request: Request, endpoint: Endpoint, ids: Mapping[str, str]) -> Context:
        path = request.scope["path"]
        if path in OPEN_PATHS:
            return self._context
        if endpoint.name in OPERATOR_CALLS:
            self._auth.operator(request.headers)
            return self._context
        caller = await self._auth.caller(request.headers)
        await self._auth.check(caller, endpoint, ids)
        return replace(self._context, workspace_id=caller.workspace_id, worker=caller.environment_id is not None)

    async def _parsed(self, endpoint: Endpoint, request: Request) -> tuple[dict[str, Any], str]:
        """(the operation's arguments besides the ids, a digest of what was sent)."""
        arguments: dict[str, Any] = {}
        digest = ""
        if endpoint.query is not None:
            arguments["query"] = query(request, endpoint.query, _told_in_headers(request, endpoint))
        if endpoint.upload:
            limit = self._settings.file_bytes_max
            arguments["body"], digest = await upload(request, self._context.store.blobs, limit)
        elif endpoint.method == "POST":
            limit = self._settings.request_bytes_max
            body, digest = await json_body(request, endpoint.body or Nothing, limit)
            arguments |= {"body": body} if endpoint.body is not None else {}
        return arguments, digest

    async def _outcome(
        self, endpoint: Endpoint, context: Context, arguments: Mapping[str, Any], replay: _ReplayKey | None, digest: str
    ) -> Outcome:
        """Runs the operation and commits what it wants written, again when something it read has changed since."""
        assert endpoint.run is not None
        for _ in range(CONFLICT_TRIES):
            if replay is not None and (known := await self._replayed(context, replay, digest)):
                return known
            outcome = await endpoint.run(context, **arguments)
            if not isinstance(outcome, Write):
                return outcome
            recorded = self._recorded(context, replay, digest, outcome.reply) if replay is not None else ()
            batch = replace(outcome.batch, statements=(*outcome.batch.statements, *recorded))
            try:
                results = await context.store.commit(batch)
            except Conflict:
                continue
            return outcome.settle(results) if outcome.settle else outcome.reply
        raise conflict("The object is being changed by others at the same time; try again.", retry=True)

    async def _dumped(self, outcome: Outcome) -> Response:
        match outcome:
            case Reply():
                return json_response(outcome)
            case Download():
                return download_response(outcome)
            case Live():
                return EventStreamResponse(await self._streams.open(outcome))
            case Write():
                raise TypeError("a write that was not committed")

    # --- idempotency -------------------------------------------------------------------------------------------------

    async def _replayed(self, context: Context, key: _ReplayKey, digest: str) -> Reply | None:
        since = timestamp(context.clock.now() - timedelta(seconds=self._settings.idempotency_ttl_s))
        known = await context.store.keys.replay(context.workspace_id, *key, since=since)
        if known is None:
            return None
        if known.body_hash != digest:
            raise conflict("idempotency-key: was used before with another body")
        return Reply(known.reply, warnings_in(known.reply))

    def _recorded(self, context: Context, key: _ReplayKey, digest: str, reply: Reply) -> tuple[Statement, ...]:
        """Goes into the batch of the write itself: a request is either done and remembered, or neither."""
        before = timestamp(context.clock.now() - timedelta(seconds=self._settings.idempotency_ttl_s))
        replay = Replay(digest, 200, reply.body)
        insert = replay_insert(context.workspace_id, *key, replay, now=context.now())
        return (replays_expire(before=before), insert)


_ReplayKey = tuple[str, str]
"""(idempotency key, path)."""


def _replay_key(request: Request, context: Context) -> _ReplayKey | None:
    """Honoured on every POST of a workspace. The operator's are left out: a new key must not be kept anywhere."""
    key = request.headers.get("idempotency-key")
    if key is None or request.method != "POST" or not context.workspace_id:
        return None
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARS_MAX:
        raise invalid(f"idempotency-key: must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters")
    return key, request.scope["path"]


def _told_in_headers(request: Request, endpoint: Endpoint) -> Mapping[str, str]:
    """Fields of the query that come as headers, unless the query has them: where a reconnecting stream resumes, and
    which worker polls."""
    name, field = ("last-event-id", "after") if endpoint.reply == "events" else ("anthropic-worker-id", "worker_id")
    value = request.headers.get(name)
    return {field: value} if value else {}
