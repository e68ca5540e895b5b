"""Following loses nothing and repeats nothing, though the connection breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest

from roost.cli.follow import FAILURES_MAX, follow

AT = "2026-01-01T00:00:00Z"


def message(event_id: str) -> dict[str, Any]:
    content = [{"type": "text", "text": event_id}]
    return {"type": "agent.message", "id": event_id, "processed_at": AT, "content": content}


END = {"type": "session.status_terminated", "id": "end", "processed_at": AT}


class Server:
    """Streams that break after their events, and a history."""

    def __init__(self, streams: list[list[dict[str, Any]]], history: list[dict[str, Any]]) -> None:
        self.streams = iter(streams)
        self.history = history
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path.rpartition("/")[2])
        if self.asked[-1] == "events":
            return httpx2.Response(200, json={"data": self.history, "next_page": None})
        events = next(self.streams, None)
        if events is None:
            raise httpx2.ConnectError("refused", request=request)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Breaking(events))


class Breaking(httpx2.SyncByteStream):
    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    def __iter__(self) -> Iterator[bytes]:
        for event in self.events:
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        raise httpx2.ReadError("cut off")


def client(server: Server) -> anthropic.Anthropic:
    http = httpx2.Client(transport=httpx2.MockTransport(server))
    return anthropic.Anthropic(base_url="http://roost.test", api_key="k", http_client=http, max_retries=0)


def test_what_came_while_the_connection_was_down_is_listed_and_nothing_comes_twice() -> None:
    history = [message("a"), message("b"), message("c")]
    server = Server([[message("a"), message("b")], [message("c"), END]], history)
    with client(server) as api:
        seen = [event.id for event in follow(api, "sesn_1", pause=lambda seconds: None)]
    assert seen == ["a", "b", "c", "end"]
    assert server.asked == ["stream", "stream", "events"]


def test_what_is_sent_is_sent_once_and_only_when_the_stream_stands() -> None:
    server = Server([[], [END]], [])
    with client(server) as api:
        list(follow(api, "sesn_1", send=lambda: server.asked.append("sent"), pause=lambda seconds: None))
    assert server.asked == ["stream", "sent", "stream", "events"]


def test_a_server_that_stays_away_is_given_up() -> None:
    server = Server([[message("a")]], [])
    with client(server) as api, pytest.raises(anthropic.APIConnectionError):
        list(follow(api, "sesn_1", pause=lambda seconds: None))
    assert server.asked == ["stream"] * (FAILURES_MAX + 1)
