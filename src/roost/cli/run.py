"""`roost run`: from a task to its result, with live output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anthropic
import click

from roost.cli.agents import new_session, put_away
from roost.cli.connection import answers, api_errors, client, connected, default_model, server_url
from roost.cli.follow import follow, interrupt, say, turn_ended
from roost.cli.outputs import download_outputs, local_name
from roost.cli.private import NotStarted, private_server
from roost.cli.settings import settings
from roost.cli.show import Display, visible_line

INTERRUPTED = 130


@click.command("run")
@click.argument("task")
@click.option("--model", help="Model to ask (ROOST_MODEL).")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the result's files (./roost-outputs).")
def command(task: str, model: str | None, output: Path | None) -> None:
    """Give an agent TASK and watch it work.

    Starts a private server over the data folder when none answers. Ctrl-C interrupts the agent. The exit status is 0
    when the turn ended by itself, 1 when it failed, 130 when it was interrupted.
    """
    with server() as api:
        session = new_session(api, name="roost run", model=model or default_model(settings()), title=task[:60])
        click.echo(click.style(f"- session {visible_line(session.id)}", dim=True))
        try:
            last = work(api, session.id, task)
            folder = (output or Path("roost-outputs")) / local_name(session.id)
            for path in download_outputs(api, session.id, folder):
                click.echo(f"  wrote {visible_line(str(path))}")
        finally:
            put_away(api, session)
    raise SystemExit(last)


@contextmanager
def server() -> Iterator[anthropic.Anthropic]:
    """The server that this shell means, or a private one where none answers."""
    chosen = settings()
    if answers(server_url(chosen)):
        with connected() as api:
            yield api
        return
    try:
        with private_server(chosen.data_dir) as private:
            click.echo(click.style(f"- no server answers; started one. Isolation: {private.isolation}", dim=True))
            with client(private.url, private.api_key) as api, api_errors():
                yield api
    except NotStarted as error:
        raise click.ClickException(str(error)) from None


def work(api: anthropic.Anthropic, session_id: str, task: str) -> int:
    """Send the task and show what comes until the turn is over; returns the exit status."""
    display, interrupted = Display(), False
    send = partial(say, api, session_id, task)
    while True:
        try:
            for event in follow(api, session_id, send=send):
                display.show(event)
                if turn_ended(event):
                    reason = event.stop_reason.type if event.type == "session.status_idle" else event.type
                    return INTERRUPTED if interrupted else int(reason != "end_turn")
            return 1
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            send = partial(interrupt, api, session_id)
