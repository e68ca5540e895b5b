"""Events become lines: text as it comes, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta.sessions import BetaManagedAgentsStreamSessionEvents
from pydantic import TypeAdapter

from roost.cli.show import Display

AT = "2026-01-01T00:00:00Z"
EVENTS: TypeAdapter[Any] = TypeAdapter(BetaManagedAgentsStreamSessionEvents)


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
