"""`roost tail`: a session's events."""

from __future__ import annotations

import click

from roost.cli.connection import connected
from roost.cli.follow import follow
from roost.cli.show import Display


@click.command("tail")
@click.argument("session")
@click.option("--past", is_flag=True, help="Only what has happened so far.")
def command(session: str, past: bool) -> None:
    """Show SESSION's events, past and to come, until it is over or Ctrl-C."""
    display = Display()
    with connected() as api:
        events = api.beta.sessions.events.list(session, limit=1000) if past else follow(api, session, history=True)
        try:
            for event in events:
                display.show(event)
        except KeyboardInterrupt:
            raise SystemExit(0) from None
