"""Finding the server: its address, the keys, and the official SDK as its client."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import anthropic
import click

from roost.cli.settings import settings
from roost.cli.show import visible
from roost.core.settings import Settings

CLAUDE_MODEL = "claude-sonnet-5-5"
"""What `run` and `demo` ask for where a Claude key is set and no model is."""

HEALTH_TIMEOUT_S = 5


def server_url(chosen: Settings) -> str:
    """`ROOST_URL`, or where a server with these settings would listen."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(chosen.host, chosen.host)
    return os.environ.get("ROOST_URL", "").rstrip("/") or f"http://{host}:{chosen.port}"


def answers(url: str) -> bool:
    """Whether a Roost server answers there."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/roost/v1/health", timeout=HEALTH_TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (OSError, ValueError):
        return False


def client(url: str, key: str) -> anthropic.Anthropic:
    """The official SDK, with nothing but its address and key set. A server on loopback is asked past any proxy."""
    local = any(url.startswith(f"http://{host}:") for host in ("127.0.0.1", "localhost", "[::1]"))
    http = anthropic.DefaultHttpxClient(trust_env=not local)
    return anthropic.Anthropic(base_url=url, api_key=key, http_client=http)


@contextmanager
def connected() -> Iterator[anthropic.Anthropic]:
    """A client of the server that this shell means. Refusals and failures of the API end the command with one line."""
    chosen = settings()
    if not chosen.api_key:
        raise click.ClickException(
            "ROOST_API_KEY is not set. The server shows a key on its first start; `roost keys create NAME` makes one."
        )
    with client(server_url(chosen), chosen.api_key) as api, api_errors():
        yield api


def default_model(chosen: Settings) -> str:
    return chosen.model or (CLAUDE_MODEL if chosen.anthropic_api_key else "scripted")


@contextmanager
def api_errors() -> Iterator[None]:
    """Turns what the API refuses into one line for people."""
    try:
        yield
    except anthropic.APIConnectionError as error:
        raise click.ClickException(
            f"no server answers at {error.request.url.scheme}://{error.request.url.netloc.decode()}: "
            "start one with `roost serve`, or set ROOST_URL"
        ) from None
    except anthropic.APIStatusError as error:
        raise click.ClickException(f"the server refused ({error.status_code}): {visible(message(error))}") from None


def message(error: anthropic.APIStatusError) -> str:
    """The message inside the API's error envelope."""
    body = error.body
    inner = body.get("error") if isinstance(body, dict) else None
    return str(inner["message"]) if isinstance(inner, dict) and "message" in inner else error.message
