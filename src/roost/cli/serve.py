"""`roost serve`: the server in the foreground, until a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roost.cli.settings import settings
from roost.core.telemetry import configure_logging

if TYPE_CHECKING:
    from roost.server import ServerInfo


@click.command("serve")
@click.option("--host", help="Address to listen on (ROOST_HOST, 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one (ROOST_PORT, 8400).")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder (ROOST_DATA_DIR, ./roost-data).")
@click.option("--until-eof", is_flag=True, help="Also stop when standard input ends.")
def command(host: str | None, port: int | None, data: Path | None, until_eof: bool) -> None:
    """Start the server.

    Stops on SIGINT or SIGTERM; turns that still run then go on where they were after the next start.
    """
    chosen = settings(host=host, port=port, data_dir=data)
    configure_logging(chosen.log_level)
    import uvloop

    from roost.providers.script import PlanError
    from roost.server import StartError, serve
    from roost.store.protocols import StoreError

    if until_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()
    try:
        uvloop.run(serve(chosen, ready=announce))
    except PlanError as error:
        raise click.ClickException(f"ROOST_SCRIPTED_PLAN cannot be played: {error}") from None
    except (StartError, StoreError, OSError) as error:
        raise click.ClickException(str(error)) from None


def announce(info: ServerInfo) -> None:
    """What a user must know now, one labelled line each; an empty line ends it."""
    click.echo(f"Listening  {info.url}")
    click.echo(f"Isolation  {info.isolation}")
    click.echo(f"Models     {info.models}")
    if info.key_created:
        click.echo(f"Key        {info.key_created}  (shown this once; export ROOST_API_KEY={info.key_created})")
    click.echo("")
    sys.stdout.flush()


def _stop_at_eof() -> None:
    # Not through sys.stdin: this thread would hold its lock, and a process that ends meanwhile would crash on that.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
