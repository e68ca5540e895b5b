"""`roost ps`: which sessions there are and what they do."""

from __future__ import annotations

from itertools import islice

import click

from roost.cli.connection import connected
from roost.cli.show import visible_line


@click.command("ps")
@click.option("--running", is_flag=True, help="Only those at work.")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
def command(running: bool, limit: int) -> None:
    """List sessions that are not archived, newest first."""
    with connected() as api:
        wanted = api.beta.sessions.list(statuses=["running", "rescheduling"]) if running else api.beta.sessions.list()
        rows = [
            [
                visible_line(cell)
                for cell in (s.id, s.status, f"{s.created_at:%Y-%m-%d %H:%M}", s.agent.model.id, s.title or "")
            ]
            for s in islice(wanted, limit)
        ]
    header = ["SESSION", "STATUS", "CREATED (UTC)", "MODEL", "TITLE"]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
