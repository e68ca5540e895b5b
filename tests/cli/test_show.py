"""Events become lines: text as it comes, nothing twice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from anthropic.types.beta.sessions import BetaManagedAgentsStreamSessionEvents
from pydantic import TypeAdapter

from roost.cli.show import Display, visible_line

AT = "2026-01-01T00:00:00Z"
EVENTS: TypeAdapter[Any] = TypeAdapter(BetaManagedAgentsStreamSessionEvents)


def strip_ansi(text: str) -> str:
    """Without the styles that the display itself adds."""
    return re.sub(r"\x1b\[[0-9]+m", "", text)


def show(capsys: pytest.CaptureFixture[str], *events: dict[str, Any]) -> str:
    display = Display()
    for number, event in enumerate(events):
        display.show(EVENTS.validate_python({"id": f"sevt_{number}", "processed_at": AT, **event}))
    return capsys.readouterr().out


def delta(text: str, index: int = 0) -> dict[str, Any]:
    content = {"type": "text", "text": text}
    piece = {"type": "content_delta", "index": index, "content": content}
    return {"type": "event_delta", "event_id": "sevt_m", "delta": piece}


def message(text: str) -> dict[str, Any]:
    return {"type": "agent.message", "id": "sevt_m", "content": [{"type": "text", "text": text}]}


def test_text_that_came_in_pieces_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    start = {"type": "event_start", "event": {"type": "agent.message", "id": "sevt_m"}}
    assert show(capsys, start, delta("Hel"), delta("lo"), message("Hello")) == "Hello\n"


def test_a_message_without_pieces_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(capsys, message("Hello")) == "Hello\n"


def test_a_tool_call_and_its_result_are_shown_short(capsys: pytest.CaptureFixture[str]) -> None:
    call = {"type": "agent.tool_use", "name": "bash", "input": {"command": "x" * 500}}
    result = {
        "type": "agent.tool_result",
        "tool_use_id": "sevt_0",
        "content": [{"type": "text", "text": "line\n" * 100}, {"type": "image", "source": {"type": "url", "url": "u"}}],
        "is_error": False,
    }
    lines = show(capsys, delta("thinking"), call, result).splitlines()
    assert lines[0] == "thinking"
    assert lines[1].startswith('* bash {"command":"xxx')
    assert len(lines[1]) < 250
    assert lines[2:] == ["  line"] * 20


def test_errors_and_endings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "unknown_error", "message": "it broke", "retry_status": {"type": "exhausted"}}
    shown = show(
        capsys,
        {"type": "session.error", "error": error},
        {"type": "span.model_request_start"},
        {"type": "session.status_idle", "stop_reason": {"type": "retries_exhausted"}},
    )
    assert shown == "! unknown_error: it broke\n- idle: retries_exhausted\n"


HOSTILE = "a\x1b]0;owned\x07\x9b2J\x7f\rb\tc"
HARMLESS = r"a\x1b]0;owned\x07\x9b2J\x7f\x0db" + "\tc"


@pytest.mark.parametrize(
    "event",
    [
        delta(HOSTILE),
        message(HOSTILE),
        {"type": "user.message", "content": [{"type": "text", "text": HOSTILE}]},
        {"type": "agent.tool_use", "name": HOSTILE, "input": {}},
        {
            "type": "session.error",
            "error": {"type": "unknown_error", "message": HOSTILE, "retry_status": {"type": "exhausted"}},
        },
    ],
    ids=["a piece", "a message", "a user's message", "a tool call", "an error"],
)
def test_control_characters_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str], event: dict[str, Any]) -> None:
    assert HARMLESS in strip_ansi(show(capsys, event))


def test_a_result_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    content = [{"type": "text", "text": "one\r\ntwo\x1b[2K\x9b1A"}]
    result = {"type": "agent.tool_result", "tool_use_id": "sevt_0", "content": content, "is_error": True}
    assert strip_ansi(show(capsys, result)) == "  one\n  two\\x1b[2K\\x9b1A\n"


def test_a_line_of_a_table_stays_one_line() -> None:
    assert visible_line("a\nb\r\nc\td\x1b") == r"a\nb\nc\td\x1b"
