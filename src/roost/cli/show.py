"""A session's events as lines for people, with the model's text as it comes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click
import orjson

LINE_CHARACTERS_MAX = 200

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
"""C0 and C1 (ECMA-48) but line breaks and tabs: what a terminal may take for a command."""

_PLAIN: Mapping[str, Any] = {}
_QUIET: Mapping[str, Any] = {"dim": True}
_USER: Mapping[str, Any] = {"bold": True}


def visible(text: str) -> str:
    """The text with control characters written out (`\\x1b`), so that a server or an agent cannot steer the terminal.

    Everything that comes from the server is printed through this or `visible_line`.
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def visible_line(text: str) -> str:
    """The same for what must stay on one line, such as a cell of a table."""
    return visible(text).replace("\r\n", "\\n").replace("\n", "\\n").replace("\t", "\\t")


class Display:
    """Prints events one after another. Text that came in pieces is not printed again when its whole event follows."""

    def __init__(self) -> None:
        self._previewed: set[str] = set()
        self._open_line = False

    def show(self, event: Any) -> None:
        match event.type:
            case "event_delta":
                self._piece(event.event_id, event.delta.content.text)
            case "agent.message" if event.id in self._previewed:
                self._end_line()
            case _:
                text, style = describe(event)
                if text:
                    self._end_line()
                    click.echo(click.style(visible(text), **style))

    def _piece(self, event_id: str, text: str) -> None:
        self._previewed.add(event_id)
        click.echo(visible(text), nl=False)
        self._open_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._open_line:
            click.echo()
            self._open_line = False


def describe(event: Any) -> tuple[str, Mapping[str, Any]]:
    """One event as text, not yet fit for a terminal, and its style; empty for those that tell a user nothing."""
    match event.type:
        case "user.message":
            return f"> {_short(_text(event.content).partition(chr(10))[0])}", _USER
        case "agent.message":
            return _text(event.content), _PLAIN
        case "agent.tool_use" | "agent.custom_tool_use" | "agent.mcp_tool_use":
            return f"* {event.name} {_short(orjson.dumps(event.input).decode())}", {"fg": "cyan"}
        case "agent.tool_result" | "agent.mcp_tool_result" | "user.custom_tool_result" | "user.tool_result":
            return _indent(_text(event.content or ())), {"fg": "red" if event.is_error else None, "dim": True}
        case "session.error":
            return f"! {event.error.type}: {event.error.message}", {"fg": "red"}
        case "session.status_idle":
            return f"- idle: {event.stop_reason.type}", _QUIET
        case "session.status_running" | "session.status_rescheduled" | "session.status_terminated" | "session.deleted":
            return f"- {event.type.removeprefix('session.').removeprefix('status_')}", _QUIET
        case "user.interrupt" | "user.tool_confirmation":
            return f"> {event.type.removeprefix('user.')}", _USER
        case _:
            return "", _PLAIN


def _text(blocks: Any) -> str:
    return "\n".join(block.text if block.type == "text" else f"[{block.type}]" for block in blocks)


def _indent(text: str) -> str:
    return "\n".join(f"  {_short(line)}" for line in text.splitlines()[:20])


def _short(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS_MAX else f"{line[:LINE_CHARACTERS_MAX]}..."
