"""A session's events as lines for people, with the model's text as it comes."""

from __future__ import annotations

from typing import Any

import click
import orjson

LINE_CHARACTERS_MAX = 200


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
                if line := describe(event):
                    self._end_line()
                    click.echo(line)

    def _piece(self, event_id: str, text: str) -> None:
        self._previewed.add(event_id)
        click.echo(text, nl=False)
        self._open_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._open_line:
            click.echo()
            self._open_line = False


def describe(event: Any) -> str:
    """One event as text; empty for those that tell a user nothing."""
    match event.type:
        case "user.message":
            return click.style(f"> {_short(_text(event.content).partition(chr(10))[0])}", bold=True)
        case "agent.message":
            return _text(event.content)
        case "agent.tool_use" | "agent.custom_tool_use" | "agent.mcp_tool_use":
            return click.style(f"* {event.name} {_short(orjson.dumps(event.input).decode())}", fg="cyan")
        case "agent.tool_result" | "agent.mcp_tool_result" | "user.custom_tool_result" | "user.tool_result":
            return click.style(_indent(_text(event.content or ())), fg="red" if event.is_error else None, dim=True)
        case "session.error":
            return click.style(f"! {event.error.type}: {event.error.message}", fg="red")
        case "session.status_idle":
            return click.style(f"- idle: {event.stop_reason.type}", dim=True)
        case "session.status_running" | "session.status_rescheduled" | "session.status_terminated" | "session.deleted":
            return click.style(f"- {event.type.removeprefix('session.').removeprefix('status_')}", dim=True)
        case "user.interrupt" | "user.tool_confirmation":
            return click.style(f"> {event.type.removeprefix('user.')}", bold=True)
        case _:
            return ""


def _text(blocks: Any) -> str:
    return "\n".join(block.text if block.type == "text" else f"[{block.type}]" for block in blocks)


def _indent(text: str) -> str:
    return "\n".join(f"  {_short(line)}" for line in text.splitlines()[:20])


def _short(line: str) -> str:
    return line if len(line) <= LINE_CHARACTERS_MAX else f"{line[:LINE_CHARACTERS_MAX]}..."
