"""Outcomes as HTTP responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from roost.api.stream import OpenStream
from roost.operations.resource import Download, Reply
from roost.wire.errors import ApiError

JSON = "application/json"


def json_response(reply: Reply, status: int = 200) -> Response:
    return Response(reply.body, status, dict(reply.headers), JSON)


def error_response(error: ApiError, request_id: str) -> Response:
    return Response(error.envelope(request_id), error.status, error.headers(), JSON)


def download_response(download: Download) -> Response:
    """The bytes as an attachment: a browser must never run what somebody uploaded."""
    headers = {
        "content-length": str(download.size_bytes),
        "content-disposition": f"attachment; filename*=utf-8''{quote(download.filename, safe='')}",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(download.chunks, 200, headers, download.mime_type)


class EventStreamResponse(Response):
    """Server-sent events until the stream ends or the client goes (contract/http.md, Server-sent events)."""

    def __init__(self, stream: OpenStream, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(None, 200, {"cache-control": "no-cache", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self.headers["content-type"] = "text/event-stream; charset=utf-8"
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = asyncio.create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_all(self._stream.chunks(), send)
        finally:
            watch.cancel()
            self._stream.close()

    async def _send_all(self, chunks: AsyncIterator[bytes], send: Send) -> None:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stream.hang_up()
