"""Claude models: the Messages API, streamed (contract/models-and-messages.md)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any
from zlib import crc32

import httpx2
import orjson

from roost.core.clock import Clock, SystemClock
from roost.providers.body import encode_body, thinking_for
from roost.providers.cards import Cards
from roost.providers.failures import http_failure, no_key, stream_failure
from roost.providers.sse import FrameReader
from roost.wire.messages import ModelCard, ModelError, ModelLimits, ModelRequest

API_VERSION = "2026-10-21"
"""The version whose shapes we send and read, with the credential header that belongs to it (contract/http.md)."""

FAST_MODE_BETA = "fast-mode-2026-02-01"
ERROR_BYTES_MAX = 64 * 1024
DRAIN_S = 1.0
MODELS_TTL_S = 3_600.0
POOLS = 16
"""A pool looks at every connection it has for each request: several small ones stay fast with thousands of sessions."""

_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=60.0)
"""No cap on connections: the server bounds how many turns run at once."""


class AnthropicProvider:
    """Asks Claude models, or whatever speaks the Messages API at `base_url`.

    `stall_s` is the longest silence in a reply, pings counting as life; `connect_s` the longest wait for a connection.
    Without a key every request fails with a ModelError that says how to set one. Close it when done.
    """

    name = "anthropic"

    def __init__(
        self,
        api_key: str | None,
        base_url: str,
        *,
        stall_s: float = 120.0,
        connect_s: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        self._api_key = (api_key or "").strip()
        self._base_url = httpx2.URL(base_url)
        self._timeout = httpx2.Timeout(stall_s, connect=connect_s, pool=None)
        self._lists_timeout = httpx2.Timeout(connect_s)
        self._clock = clock or SystemClock()
        self._tls: ssl.SSLContext | None = None
        self._clients: dict[int, httpx2.AsyncClient] = {}
        self._cards = Cards(self._get, self._clock, MODELS_TTL_S)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Mapping[str, Any], None]:
        """See `ModelProvider.stream`."""
        headers = self._headers(fast=request.speed == "fast")
        card = await self._cards.card(request.model)
        body = encode_body(request, thinking_for(card, request.max_tokens))
        client = await self._client(request.session_id)
        try:
            async with client.stream("POST", "/v1/messages", content=body, headers=headers) as response:
                if response.status_code != 200:
                    raise http_failure(response, await _error_body(response), self._clock.now())
                frames = FrameReader()
                chunks = response.aiter_bytes()
                async for chunk in chunks:
                    for event in _events(frames, chunk):
                        yield event
                        if event["type"] == "message_stop":
                            await _drain(chunks)
                            return
                raise ModelError("unavailable", "The model's stream ended before its reply was complete.")
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        except ModelError as failure:
            self._redact(failure)
            raise

    async def limits(self, model: str) -> ModelLimits:
        """What the API says of the model; careful defaults where it cannot be asked."""
        if not self._api_key:
            return ModelLimits()
        return (await self._cards.card(model)).limits

    async def models(self) -> list[ModelCard]:
        """The models the key may use, newest first, at most an hour old. Raises ModelError."""
        self._headers()
        return await self._cards.all()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def _client(self, session_id: str = "") -> httpx2.AsyncClient:
        """A session keeps to one pool, where it finds its last connection again."""
        if self._tls is None:
            # Reading the certificates takes long enough to be felt by every other session.
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context)
        pool = crc32(session_id.encode()) % POOLS
        if pool not in self._clients:
            self._clients[pool] = httpx2.AsyncClient(
                base_url=self._base_url, timeout=self._timeout, limits=_LIMITS, verify=self._tls
            )
        return self._clients[pool]

    def _headers(self, fast: bool = False) -> dict[str, str]:
        """Raises ModelError without a key, or with one that cannot stand in a header."""
        if not (self._api_key and self._api_key.isascii() and self._api_key.isprintable()):
            raise no_key()
        headers = {
            "authorization": f"Bearer {self._api_key}",
            "anthropic-version": API_VERSION,
            "content-type": "application/json",
            # Deflating a stream of small frames costs more than it saves and may hold them back.
            "accept-encoding": "identity",
        }
        return {**headers, "anthropic-beta": FAST_MODE_BETA} if fast else headers

    async def _get(self, path: str) -> Mapping[str, Any]:
        headers = self._headers()
        try:
            client = await self._client()
            response = await client.get(path, headers=headers, timeout=self._lists_timeout)
            if response.status_code != 200:
                raise http_failure(response, response.content, self._clock.now())
            return _parsed(response.content)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        except ModelError as failure:
            self._redact(failure)
            raise

    def _redact(self, failure: ModelError) -> None:
        """A server may repeat the key it refused; the user of a session must not see it."""
        failure.message = failure.message.replace(self._api_key, "[key]")

    def _unreachable(self, error: httpx2.HTTPError) -> ModelError:
        if isinstance(error, httpx2.ReadTimeout):
            return ModelError("unavailable", f"The model at {self._base_url.host} sent nothing for too long.")
        return ModelError("unavailable", f"The model at {self._base_url.host} failed: {type(error).__name__}.")


def _events(frames: FrameReader, chunk: bytes) -> Iterator[Mapping[str, Any]]:
    """The events that `chunk` completed, pings left out. Raises ModelError for an `error` event and a broken frame."""
    try:
        complete = frames.feed(chunk)
    except ValueError as error:
        raise ModelError("unavailable", f"The model's stream is broken: {error}.") from error
    for data in complete:
        event = _parsed(data)
        match event.get("type"):
            case "ping":
                continue
            case "error":
                raise stream_failure(event.get("error"))
            case str():
                yield event
            case _:
                raise ModelError("unavailable", "The model's stream is broken: it holds an event without a type.")


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Reads the end of the body, so that the connection can serve the next request; gives up soon."""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass


async def _error_body(response: httpx2.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ERROR_BYTES_MAX:
            break
    return body


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ModelError("unavailable", "The model's answer is broken: it holds something other than JSON objects.")
    return parsed
