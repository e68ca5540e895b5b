"""Following a session without gap or repetition: stream first, then the history, then the stream past what was seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import anthropic
import httpx2
from anthropic.types.beta.sessions import BetaManagedAgentsUserMessageEventParams

RECONNECT_PAUSE_S = 1.0
FAILURES_MAX = 30


def say(client: anthropic.Anthropic, session_id: str, text: str) -> None:
    """Send one message of the user."""
    message: BetaManagedAgentsUserMessageEventParams = {
        "type": "user.message",
        "content": [{"type": "text", "text": text}],
    }
    client.beta.sessions.events.send(session_id, events=[message])


def interrupt(client: anthropic.Anthropic, session_id: str) -> None:
    """Stop the turn, with everything that runs in the sandbox."""
    client.beta.sessions.events.send(session_id, events=[{"type": "user.interrupt"}])


def turn_ended(event: Any) -> bool:
    """Whether nothing more comes without the client: idle for good or terminated (behaviour/08, recipe 5)."""
    if event.type == "session.status_idle":
        return bool(event.stop_reason.type != "requires_action")
    return event.type in ("session.status_terminated", "session.deleted")


def follow(
    client: anthropic.Anthropic,
    session_id: str,
    *,
    send: Callable[[], object] | None = None,
    history: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Any]:
    """Events as they come, with previews of messages. `send` is called once the stream stands, so nothing is missed.

    `history` begins with the past. A connection that breaks is made again, and what came in between is listed; after
    30 failures in a row the last one is raised. Ends with a session that is over.
    """
    seen: set[str] = set()
    waiting, failures = [send] if send else [], 0
    while True:
        try:
            with client.beta.sessions.events.stream(session_id, event_deltas=["agent.message"]) as stream:
                while waiting:
                    waiting.pop()()
                past = client.beta.sessions.events.list(session_id, limit=1000) if history else ()
                for event in _unseen(chain(past, stream), seen):
                    failures = 0
                    yield event
                    if event.type in ("session.status_terminated", "session.deleted"):
                        return
        except (anthropic.APIConnectionError, httpx2.TransportError):
            if failures >= FAILURES_MAX:
                raise
        history, failures = True, failures + 1
        pause(RECONNECT_PAUSE_S)


def _unseen(events: Any, seen: set[str]) -> Iterator[Any]:
    """Those not yet seen. A queued event (no `processed_at` yet) is seen when it is queued; previews have no id."""
    for event in events:
        event_id = getattr(event, "id", None)
        if event_id is None or event_id not in seen:
            yield event
        if event_id is not None:
            seen.add(event_id)
