"""`roost egress`: what a session's sandbox asked of the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anthropic
import click

from roost.cli.connection import connected
from roost.cli.show import visible_line

PAGE_ROWS = 100
FOLLOW_EVERY_S = 1.0
_STYLES: dict[str, dict[str, Any]] = {"allowed": {}, "refused": {"fg": "red"}, "failed": {"fg": "yellow"}}


@click.command("egress")
@click.argument("session")
@click.option("--follow", is_flag=True, help="Wait for more until Ctrl-C.")
@click.option("--refused", is_flag=True, help="Only what the environment's rules refused.")
@click.option("--limit", default=PAGE_ROWS, show_default=True, help="How many that happened before.")
def command(session: str, follow: bool, refused: bool, limit: int) -> None:
    """Show which hosts SESSION's sandbox reached or was refused, oldest first."""
    last = 0
    with connected() as api:
        try:
            while True:
                for entry in _since(api, session, last, limit, refused=refused):
                    _show(entry)
                    last = entry["number"]
                if not follow:
                    return
                time.sleep(FOLLOW_EVERY_S)
        except KeyboardInterrupt:
            raise SystemExit(0) from None


def _since(api: anthropic.Anthropic, session: str, last: int, limit: int, *, refused: bool) -> list[dict[str, Any]]:
    """Entries beyond `last`, oldest first; at most `limit` of them, the newest, when it is 0."""
    found: list[dict[str, Any]] = []
    for entry in _newest_first(api, session, refused=refused):
        if entry["number"] <= last or (not last and len(found) >= limit):
            break
        found.append(entry)
    return found[::-1]


def _newest_first(api: anthropic.Anthropic, session: str, *, refused: bool) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": PAGE_ROWS, **({"decision": "refused"} if refused else {})}
    while True:
        reply: Any = api.get(f"/roost/v1/sessions/{session}/egress", options={"params": query}, cast_to=object)
        yield from reply["data"]
        if reply["next_page"] is None:
            return
        query["page"] = reply["next_page"]


def _show(entry: dict[str, Any]) -> None:
    where = f"{entry['host']}:{entry['port']}" if entry["host"] else "(unreadable)"
    moved = f"sent {entry['sent_bytes']:,} B, received {entry['received_bytes']:,} B in {entry['duration_ms']:,} ms"
    end = entry["reason"] if entry["decision"] == "refused" else ": ".join(filter(None, (moved, entry["reason"])))
    line = f"{entry['at'][:19]}Z  {entry['decision']:7}  {entry['method']:7}  {where}  {end}"
    click.echo(click.style(visible_line(line), **_STYLES[entry["decision"]]))
