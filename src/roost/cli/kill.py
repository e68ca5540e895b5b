"""`roost kill`: stop a session's work, whatever it is doing."""

from __future__ import annotations

import time

import anthropic
import click

from roost.cli.connection import connected
from roost.cli.follow import interrupt

LOOK_EVERY_S = 0.1


@click.command("kill")
@click.argument("session")
@click.option("--archive", is_flag=True, help="Also archive it: it takes no more messages.")
@click.option("--wait", "wait_s", default=30.0, show_default=True, help="Seconds to wait until it is idle.")
def command(session: str, archive: bool, wait_s: float) -> None:
    """Interrupt SESSION, with everything that runs in its sandbox, and wait until it is idle."""
    with connected() as api:
        if works(api, session):
            interrupt(api, session)
            wait_until_idle(api, session, wait_s)
        if archive:
            api.beta.sessions.archive(session)
        click.echo(f"{session} is {'archived' if archive else 'idle'}")


def wait_until_idle(api: anthropic.Anthropic, session: str, wait_s: float) -> None:
    """Raises ClickException when it still works after `wait_s` seconds."""
    give_up_at = time.monotonic() + wait_s
    while works(api, session):
        if time.monotonic() > give_up_at:
            raise click.ClickException(f"{session} still works after {wait_s:g} s")
        time.sleep(LOOK_EVERY_S)


def works(api: anthropic.Anthropic, session: str) -> bool:
    return api.beta.sessions.retrieve(session).status in ("running", "rescheduling")
