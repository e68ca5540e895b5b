"""`roost keys`: the API keys of a server, through its operator's calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import click

from roost.cli.connection import api_errors, client, server_url
from roost.cli.settings import settings
from roost.cli.show import visible_line

WORKSPACE = click.option("--workspace", help="Workspace of the key (wrkspc_default).")


@click.group("keys")
def command() -> None:
    """Create, list and revoke API keys.

    Needs the operator's key: ROOST_ADMIN_KEY, or the file admin.key of the data folder, which only the server's user
    can read.
    """


@command.command("create")
@click.argument("name")
@WORKSPACE
@click.option("--environment", help="Make it the key of this self-hosted environment's workers, and nothing else.")
def create(name: str, workspace: str | None, environment: str | None) -> None:
    """Make a key called NAME and show it, this once."""
    with operator() as api:
        asked = {"name": name, "workspace_id": workspace, "environment_id": environment}
        body = {field: value for field, value in asked.items() if value}
        made = _object(api.post("/roost/v1/keys", body=body, cast_to=object))
    click.echo(visible_line(made["key"]))
    where = visible_line(f"{made['id']} in {made['workspace_id']}")
    variable = "ANTHROPIC_ENVIRONMENT_KEY" if environment else "ROOST_API_KEY"
    click.echo(f"{where}; shown this once: export {variable}=...", err=True)


@command.command("list")
@WORKSPACE
def list_keys(workspace: str | None) -> None:
    """List a workspace's keys; only their names are kept, never the keys."""
    with operator() as api:
        reply = _object(api.get("/roost/v1/keys", options=_query(workspace), cast_to=object))
    for key in reply["data"]:
        state = f"revoked {key['revoked_at'][:10]}" if key["revoked_at"] else "in use"
        click.echo(visible_line(f"{key['id']}  {key['created_at'][:10]}  {state:18}  {key['name']}"))


@command.command("revoke")
@click.argument("key_id")
@WORKSPACE
def revoke(key_id: str, workspace: str | None) -> None:
    """End the key with the id KEY_ID for good."""
    with operator() as api:
        api.delete(f"/roost/v1/keys/{key_id}", options=_query(workspace), cast_to=object)
    click.echo(f"{key_id} is revoked")


@contextmanager
def operator() -> Iterator[anthropic.Anthropic]:
    """A client with the operator's key. Raises ClickException where there is none."""
    chosen = settings()
    file = chosen.data_dir / "admin.key"
    try:
        key = os.environ.get("ROOST_ADMIN_KEY") or file.read_text(encoding="ascii").strip()
    except OSError:
        raise click.ClickException(
            f"no operator's key: {file} cannot be read; set ROOST_DATA_DIR to the server's folder, or ROOST_ADMIN_KEY"
        ) from None
    with client(server_url(chosen), key) as api, api_errors():
        yield api


def _query(workspace: str | None) -> Any:
    return {"params": {"workspace_id": workspace}} if workspace else {}


def _object(reply: object) -> dict[str, Any]:
    assert isinstance(reply, dict)
    return reply
