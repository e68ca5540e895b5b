"""`roost demo`: the whole way once, through the official SDK, and a check of every link."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anthropic
import click

from roost.cli import proof
from roost.cli.agents import new_session
from roost.cli.connection import api_errors, client, default_model
from roost.cli.demo_task import scripted_task, task
from roost.cli.follow import follow, say, turn_ended
from roost.cli.outputs import download_outputs
from roost.cli.private import NotStarted, PrivateServer, end_sandboxes, private_server
from roost.cli.settings import settings
from roost.cli.show import Display

NEXT = """\
What to try next
  roost serve                             a server of your own at http://127.0.0.1:8400, data in ./roost-data
  roost run "Count the words of ..."      a task from the command line, with live output
  examples/quickstart.py                  the same through the SDK; README.md walks through it
  roost doctor                            what this machine and these settings give
"""


@click.command("demo")
def command() -> None:
    """Run a real task on a private server, from agent to checked result.

    Uses a Claude model where ANTHROPIC_API_KEY is set, otherwise the scripted model, and says which. The exit status is
    1 when any link is broken; the reason is printed.
    """
    model = default_model(settings())
    folder = Path(tempfile.mkdtemp(prefix="roost-demo-"))
    try:
        with private_server(folder / "data") as server, client(server.url, server.api_key) as api, api_errors():
            demonstrate(api, server, model, folder)
    except (NotStarted, proof.BrokenProof) as error:
        raise click.ClickException(f"the demo failed: {error}") from None
    finally:
        asyncio.run(end_sandboxes(folder / "data"))
        shutil.rmtree(folder, ignore_errors=True)
    click.echo(NEXT)


def demonstrate(
    api: anthropic.Anthropic,
    server: PrivateServer,
    model: str,
    folder: Path,
    scripted: Callable[[str], str] = scripted_task,
) -> None:
    """The demo against a running server. `scripted` gives the message that holds the scripted model's plan.

    Raises BrokenProof.
    """
    click.echo(f"Server     {server.url}, private to this demo")
    click.echo(f"Isolation  {server.isolation}")
    if server.isolation.startswith("none"):
        raise proof.BrokenProof("this machine gives no sandbox; `roost doctor` names the remedy")
    click.echo(f"Model      {model}" + (", which plays a plan and understands nothing" if model == "scripted" else ""))
    nonce = secrets.token_hex(16)
    session = new_session(api, name="demo", model=model, title="Hash a number in the sandbox")
    click.echo(f"Session    {session.id}\n")
    try:
        watch(api, session.id, scripted(nonce) if model == "scripted" else task(nonce))
        written = download_outputs(api, session.id, folder / "outputs")
        report = next((path for path in written if path.name == proof.REPORT_NAME), None)
        if report is None:
            raise proof.BrokenProof(f"no {proof.REPORT_NAME} came back through the Files API")
        inside = proof.check(report.read_bytes(), nonce, proof.namespaces_of(server.pid))
    finally:
        api.beta.sessions.delete(session.id)
    click.echo(
        f"\nVerified   {proof.REPORT_NAME}, downloaded through the Files API: its hash is that of the number drawn"
    )
    click.echo(
        f"           for this run, and it was made in {', '.join(inside.values())}, none of them the server's.\n"
    )


def watch(api: anthropic.Anthropic, session_id: str, message: str) -> None:
    """Send the message and show the turn. Raises BrokenProof when it does not end well."""
    display = Display()
    for event in follow(api, session_id, send=partial(say, api, session_id, message)):
        display.show(event)
        if turn_ended(event):
            reason = event.stop_reason.type if event.type == "session.status_idle" else event.type
            if reason != "end_turn":
                raise proof.BrokenProof(f"the turn ended with {reason}")
            return
    raise proof.BrokenProof("the event stream ended before the turn did")
