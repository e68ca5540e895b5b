"""The composition root: from settings to a running server. The only place that knows every room of the house."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import uvicorn

from roost.api.app import App, create_app
from roost.core.clock import Clock, SystemClock, timestamp
from roost.core.ids import new_id
from roost.core.settings import Settings
from roost.core.telemetry import redact
from roost.engine.egress import EgressRecorder
from roost.engine.reaper import Reaper
from roost.engine.sweeper import Sweeper
from roost.engine.turns import Turns
from roost.harness.brain import Brain
from roost.harness.files import Outputs
from roost.harness.turn import Tools
from roost.operations.operator import key_digest
from roost.providers.anthropic import AnthropicProvider
from roost.providers.catalog import Catalog
from roost.providers.scripted import ScriptedProvider
from roost.proxy.egress import EgressProxy
from roost.proxy.packages import asked_hosts, package_hosts
from roost.proxy.route import Route
from roost.sandbox.bubblewrap import BubblewrapBackend, Limits
from roost.sandbox.fleet import Fleet
from roost.sandbox.interface import Capability
from roost.store.protocols import Batch, KeyRow, Store
from roost.store.sqlite import SqliteStore
from roost.store.statements import key_insert
from roost.wire.keys import DEFAULT_WORKSPACE
from roost.wire.tools import UNBUILT_TOOLS

log = logging.getLogger(__name__)

REAP_EVERY_S = 30.0
PROVIDERS = {"scripted": "scripted", "scripted-*": "scripted", "*": "anthropic"}
"""Model names -> who answers. A gateway behind ANTHROPIC_BASE_URL may have names of its own, so the rest goes there."""


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class ServerInfo:
    """What a starting server tells its user."""

    url: str
    key_created: str | None
    """An API key made on the first start, shown once."""
    isolation: str
    """One line: what holds the tools in on this machine, and what that lacks."""
    models: str
    """Where model replies come from."""


@dataclass(frozen=True)
class Running:
    """A server inside this process."""

    info: ServerInfo
    store: Store
    turns: Turns
    fleet: Fleet
    capability: Capability
    admin_key: str

    @property
    def url(self) -> str:
        return self.info.url


async def serve(settings: Settings, *, ready: Callable[[ServerInfo], None] | None = None) -> None:
    """Serves until SIGINT or SIGTERM, then lets running turns finish for `stop_grace_s` and hands the rest over.

    A second signal hands them over at once: the log says how they go on.
    """
    stop, at_once = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: (at_once if stop.is_set() else stop).set())
    async with running(settings) as server:
        if ready:
            ready(server.info)
        await stop.wait()
        log.info("stopping: %d turn(s) running", server.turns.count)
        await _first_of(server.turns.settle(settings.stop_grace_s), at_once.wait())


async def _first_of(*work: Coroutine[Any, Any, object]) -> None:
    """Waits for the first to end and drops the others."""
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Running]:
    """A whole server in this process, listening when the context is entered and gone when it is left.

    Raises StartError, and StoreError where the data folder cannot be used.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(settings.data_dir, clock)
        stack.push_async_callback(store.close)
        recorder = EgressRecorder(store, clock)
        await recorder.start()
        stack.push_async_callback(recorder.stop)
        key_created = await _first_key(store, settings, clock)
        admin_key = _admin_key(settings.data_dir)
        fleet, capability = await _hands(settings, recorder, stack)
        models = _models(settings, stack)
        turns = _turns(store, fleet, models, clock, settings)
        app = create_app(
            store=store,
            clock=clock,
            settings=settings,
            admin_key_hash=key_digest(admin_key),
            models=models,
            doctor=lambda: _doctor(settings, capability),
        )
        url = await _listen(app, settings, stack)
        await turns.start()
        stack.push_async_callback(turns.stop)
        reaper = Reaper(store, fleet, every_s=REAP_EVERY_S)
        await reaper.start()
        stack.push_async_callback(reaper.stop)
        sweeper = Sweeper(store, clock)
        await sweeper.start()
        stack.push_async_callback(sweeper.stop)
        info = ServerInfo(url, key_created, isolation_line(capability), _models_line(settings))
        yield Running(info, store, turns, fleet, capability, admin_key)


def isolation_line(capability: Capability) -> str:
    """For people: what holds the tools in, and what that lacks."""
    if not capability.available:
        return f"none: tool calls are refused. {capability.why_not}"
    lacks = f"; lacks {', '.join(capability.lacks)}" if capability.lacks else ""
    return f"{capability.isolation}{lacks}"


def _turns(store: Store, fleet: Fleet, models: Catalog, clock: Clock, settings: Settings) -> Turns:
    outputs = Outputs(store, fleet, clock, file_bytes_max=settings.file_bytes_max)
    brain = Brain(Tools(store, fleet, models, outputs, clock, settings))
    return Turns(store, brain, clock, settings)


async def _hands(settings: Settings, recorder: EgressRecorder, stack: AsyncExitStack) -> tuple[Fleet, Capability]:
    """The sandboxes, after a real try; those of an earlier process are found again, not started anew."""
    route = Route(trusted_cidrs=settings.trusted_cidrs, upstream_proxy=settings.upstream_proxy)
    hosts = {*package_hosts(os.environ), *settings.package_hosts}
    egress = EgressProxy(route, package_hosts=hosts, report=recorder.record)
    stack.push_async_callback(egress.aclose)
    asking = asyncio.create_task(_ask_package_managers(hosts))
    stack.push_async_callback(_dropped, asking)
    limits = Limits(
        memory_bytes=settings.sandbox_memory_bytes_max,
        processes=settings.sandbox_processes_max,
        cpus=settings.sandbox_cpus_max,
        disk_bytes=settings.sandbox_disk_bytes_max,
        file_bytes=settings.sandbox_file_bytes_max,
    )
    backend = BubblewrapBackend(settings.data_dir / "sandboxes", egress=egress, limits=limits)
    capability = await backend.probe()
    if settings.require_isolation and not capability.available:
        raise StartError(f"no sandbox works on this machine, and ROOST_REQUIRE_ISOLATION is set: {capability.why_not}")
    fleet = Fleet(
        backend,
        living_max=settings.sandboxes_max,
        idle_s=settings.sandbox_idle_s,
        call_timeout_s=settings.tool_timeout_s,
    )
    stack.push_async_callback(fleet.close)
    await fleet.start()
    return fleet, capability


async def _ask_package_managers(hosts: set[str]) -> None:
    """Adds what they say to the hosts. They take a second or two, which nobody waits for."""
    hosts |= await asked_hosts(os.environ)


async def _dropped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _models(settings: Settings, stack: AsyncExitStack) -> Catalog:
    claude = AnthropicProvider(
        settings.anthropic_api_key or None, settings.anthropic_base_url, stall_s=settings.model_stall_s
    )
    stack.push_async_callback(claude.close)
    return Catalog([ScriptedProvider(settings.scripted_plan), claude], PROVIDERS)


def _models_line(settings: Settings) -> str:
    if settings.anthropic_api_key:
        return redact(f"Claude models at {settings.anthropic_base_url}, and `scripted`")
    return "`scripted` only; set ANTHROPIC_API_KEY for Claude models"


def _doctor(settings: Settings, capability: Capability) -> Mapping[str, Any]:
    """What the operator's call `doctor` answers."""
    return {
        "version": version("roost"),
        "isolation": isolation_line(capability),
        "enforced": capability.limits,
        "models": _models_line(settings),
        "tools_not_offered": UNBUILT_TOOLS,
    }


# --- keys ------------------------------------------------------------------------------------------------------------


async def _first_key(store: Store, settings: Settings, clock: Clock) -> str | None:
    """Makes the first key of a store that has none, unless the settings name one, which is accepted but not kept."""
    if settings.api_key or await store.keys.list(DEFAULT_WORKSPACE):
        return None
    key = f"sk-roost-{secrets.token_urlsafe(32)}"
    row = KeyRow(new_id("apikey"), DEFAULT_WORKSPACE, "first", timestamp(clock.now()))
    await store.commit(Batch((key_insert(row, key_digest(key)),)))
    return key


def _admin_key(data_dir: Path) -> str:
    """The operator's key: a file that only the server's user can read, made once and whole."""
    path, new = data_dir / "admin.key", data_dir / "admin.key.new"
    if not path.exists():
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"sk-roost-admin-{secrets.token_urlsafe(32)}\n")
        new.rename(path)
    path.chmod(0o600)
    key = path.read_text(encoding="ascii").strip()
    if not key:
        raise StartError(f"{path} is empty; delete it, and the next start makes a new operator's key")
    return key


# --- listening -------------------------------------------------------------------------------------------------------


async def _listen(app: App, settings: Settings, stack: AsyncExitStack) -> str:
    """Starts uvicorn on the address asked for and returns the URL. It stops, streams included, with the stack."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    stack.push_async_callback(_stop_listening, server, task, app)
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers, which `serve` has, and without leaving the process on a taken port."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            where = f"{self.config.host}:{self.config.port}"
            raise StartError(f"cannot listen on {where}; is the port taken? Choose another with --port.") from None


async def _stop_listening(server: _Server, task: asyncio.Task[None], app: App) -> None:
    app.close()
    server.should_exit = True
    await asyncio.gather(task, return_exceptions=True)
