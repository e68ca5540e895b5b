"""A server's HTTP side on a real store, without a brain: what the brain would write, tests append themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import uvicorn
from anthropic import AsyncAnthropic

from roost.api.app import App, create_app
from roost.core.clock import SystemClock, timestamp
from roost.core.settings import Settings
from roost.operations.operator import key_digest
from roost.store.protocols import Batch, KeyRow, ObjectQuery, SessionRow, Statement, Status
from roost.store.sqlite import SqliteStore
from roost.store.statements import append, draft, hints, key_insert, session_progress
from roost.wire.events.event import Event
from tests.contract.models import Models

KEY, OTHER_KEY, ADMIN_KEY = "sk-roost-one", "sk-roost-two", "sk-roost-admin"
WORKSPACE, OTHER_WORKSPACE = "wrkspc_one", "wrkspc_two"
BETA = "managed-agents-2026-04-01"
HEADERS = {"authorization": f"Bearer {KEY}", "anthropic-beta": BETA, "anthropic-version": "2026-10-21"}


@dataclass(frozen=True)
class Served:
    """The application and the ways to talk to it within this process."""

    app: App
    store: SqliteStore
    models: Models
    http: httpx2.AsyncClient
    """Plain HTTP with a key and the beta header."""
    client: AsyncAnthropic
    """The official SDK, which refuses replies that do not fit its types."""

    async def snapshot(self) -> list[tuple[Any, ...]]:
        """Everything that the store holds of both workspaces, to see that nothing was written."""
        found: list[tuple[Any, ...]] = []
        for workspace in (WORKSPACE, OTHER_WORKSPACE):
            for kind in ("agent", "agent_version", "environment", "file"):
                found += await self._objects(workspace, kind)
        for session_id in sorted(await self.store.sessions.ids()):
            row = await self.store.sessions.load(session_id)
            found.append((row, await self.store.log.last_input(session_id)))
        return found

    async def _objects(self, workspace: str, kind: str) -> list[tuple[Any, ...]]:
        query = ObjectQuery(workspace, kind, include_archived=True, limit=1_000)
        return [(row.id, row.updated_at, row.body) for row in await self.store.objects.list(query)]

    async def row(self, session_id: str) -> SessionRow:
        row = await self.store.sessions.load(session_id)
        assert row is not None
        return row

    async def emit(self, session_id: str, *events: Event, then: Sequence[Statement] = ()) -> None:
        """Appends events as the brain would."""
        now = timestamp(SystemClock().now())
        drafts = [draft(event, answers=getattr(event, "tool_use_id", None)) for event in events]
        statements = (*append(session_id, drafts, now=now), *then)
        await self.store.commit(Batch(statements, hints=hints(session_id)))

    async def turn_to(self, session_id: str, status: Status) -> None:
        """Has the session's row show a status."""
        row, now = await self.row(session_id), timestamp(SystemClock().now())
        since = now if status == "running" else None
        progress = session_progress(session_id, status=status, usage=row.usage, running_since=since, at=now)
        await self.store.commit(Batch((progress,)))


@asynccontextmanager
async def serving(folder: Path, **changes: Any) -> AsyncIterator[Served]:
    """A served application; `changes` go into its settings."""
    clock = SystemClock()
    store = await SqliteStore.open(folder, clock)
    now = timestamp(clock.now())
    keys = [
        key_insert(KeyRow("apikey_1", WORKSPACE, "one", now), key_digest(KEY)),
        key_insert(KeyRow("apikey_2", OTHER_WORKSPACE, "two", now), key_digest(OTHER_KEY)),
    ]
    await store.commit(Batch(tuple(keys)))
    settings = Settings(**{"rate_limits": None, **changes})
    models = Models()
    app = create_app(
        store=store,
        clock=clock,
        settings=settings,
        admin_key_hash=key_digest(ADMIN_KEY),
        models=models,
        doctor=lambda: {"isolation": "none"},
    )
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://roost", headers=HEADERS) as http:
        sdk = httpx2.AsyncClient(transport=transport, base_url="http://roost")
        async with AsyncAnthropic(
            base_url="http://roost", api_key=KEY, http_client=sdk, max_retries=0, _strict_response_validation=True
        ) as client:
            yield Served(app, store, models, http, client)
    app.close()
    await store.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as one:
        yield one


@asynccontextmanager
async def listening(app: App) -> AsyncIterator[str]:
    """The application on a free port of loopback; gives its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    task = asyncio.create_task(server._serve([socket]))
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        app.close()
        server.should_exit = True
        await task
        socket.close()


@pytest.fixture
async def url(served: Served) -> AsyncIterator[str]:
    async with listening(served.app) as found:
        yield found


@pytest.fixture
async def live(url: str) -> AsyncIterator[AsyncAnthropic]:
    """The official SDK over a real socket."""
    async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0, _strict_response_validation=True) as client:
        yield client


def body_of(response: httpx2.Response) -> Any:
    return orjson.loads(response.content)
