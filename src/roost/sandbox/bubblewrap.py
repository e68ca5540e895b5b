"""The local backend: one bubblewrap sandbox for each session (sandbox.md section 0).

Works as root (each sandbox in a uid range of its own) and as a plain user (one uid mapped). Needs the programs `bwrap`
and `/usr/bin/python3` and permission to make user namespaces; no daemon, no image, no setup.

What a sandbox sees is an allow-list: the host's `/usr` and a small `/etc`, both read-only; `/proc`, `/dev`, `/tmp` and
`/run` of its own; and the session's folders. Its network namespace has a loopback interface and nothing else; the one
way out is the egress proxy's socket. It shares the host's kernel: see SECURITY.md for what that means.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roost.sandbox import command, remedy
from roost.sandbox.cgroup import ControlGroups
from roost.sandbox.client import Toolhost, connect, short_address
from roost.sandbox.disk import DiskWatch, Meter, can_measure, refuse_without_room
from roost.sandbox.idrange import IDS_PER_SANDBOX, choose_base, reserved_ranges
from roost.sandbox.image import shared_image
from roost.sandbox.interface import (
    Capability,
    Egress,
    OutputFile,
    Paths,
    SandboxLost,
    SandboxSpec,
    SandboxUnavailable,
    ToolResult,
)
from roost.sandbox.keeper import living_keeper
from roost.sandbox.launcher import Launcher, Start
from roost.sandbox.layout import KEPT_FOLDERS, READ_CHUNK_BYTES, Folder, open_beneath, outputs, session_ids
from roost.sandbox.seccomp import sandbox_filter, this_machine

PROBE_SESSION = "roost-probe"
LISTEN_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use."""

    memory_bytes: int = 8 << 30
    """All processes together where control groups can be made, else each process."""
    processes: int = 1_024
    """Processes and threads."""
    cpus: float = 4
    """Processor time for each second, of all processes and processors together; where control groups can be made."""
    file_bytes: int = 10 << 30
    """One file."""
    disk_bytes: int = 10 << 30
    """All files of the session that lie on the disk, its uploads not counted."""
    tmp_bytes: int = 1 << 30
    """`/tmp` and `/dev/shm`, each; kept in memory."""


class BubblewrapSandbox:
    """`roost.sandbox.interface.Sandbox` on this machine."""

    def __init__(self, backend: BubblewrapBackend, spec: SandboxSpec, toolhost: Toolhost, *, renewed: bool) -> None:
        self._backend = backend
        self._spec = spec
        self._toolhost = toolhost
        self._renewed = renewed
        self._disk = backend.disk_watch(spec.session_id)

    @property
    def session_id(self) -> str:
        return self._spec.session_id

    @property
    def spec(self) -> SandboxSpec:
        return self._spec

    @property
    def renewed(self) -> bool:
        return self._renewed

    @property
    def lost(self) -> bool:
        return self._toolhost.lost

    async def execute(
        self, name: str, input: Mapping[str, Any], *, call_id: str, epoch: int, timeout_s: float
    ) -> ToolResult:
        call = self._toolhost.execute(name, input, call_id=call_id, epoch=epoch, timeout_s=timeout_s)
        return await self._disk.guard(call, lambda: self._toolhost.cancel(call_id, epoch=epoch))

    async def lookup(self, call_id: str, *, epoch: int) -> Literal["unknown", "running"] | ToolResult:
        return await self._toolhost.lookup(call_id, epoch=epoch)

    async def cancel(self, call_id: str, *, epoch: int) -> None:
        await self._toolhost.cancel(call_id, epoch=epoch)

    async def update(self, spec: SandboxSpec) -> bool:
        updated = await self._backend.update(self._spec, spec)
        if updated:
            self._spec = spec
        return updated

    async def outputs(self) -> Sequence[OutputFile]:
        return await self._backend.outputs(self.session_id)

    def read_output(self, path: str) -> AsyncIterator[bytes]:
        return self._backend.read_output(self.session_id, path)

    async def release(self) -> None:
        await self._toolhost.aclose()
        await self._disk.aclose()

    async def destroy(self, *, keep_files: bool) -> None:
        await self.release()
        await self._backend.end(self.session_id)
        if not keep_files:
            await self._backend.forget(self.session_id)


class BubblewrapBackend:
    """`roost.sandbox.interface.Backend` on this machine.

    `state_dir` belongs to it alone and may be closed to everybody else. One process at a time may use it; the server's
    lock on its data folder sees to that. `egress` None lets nothing out. A sandbox that has no server and runs no call
    for `orphan_ttl_s` ends by itself.
    """

    name = "bubblewrap"
    paths = Paths()

    def __init__(
        self,
        state_dir: Path,
        *,
        egress: Egress | None = None,
        limits: Limits | None = None,
        orphan_ttl_s: float = 3_600,
        bwrap: str | None = None,
    ) -> None:
        self._orphan_ttl_s = orphan_ttl_s
        self._sessions = state_dir / "sessions"
        self._images = state_dir / "images"
        self._egress = egress
        self._limits = limits or Limits()
        self._bwrap = bwrap or shutil.which("bwrap")
        self._root = os.geteuid() == 0
        self._launcher = Launcher()
        self._groups = ControlGroups.of_this_machine(
            self._limits.memory_bytes, self._limits.processes, self._limits.cpus
        )
        self._meter = Meter()
        self._image: Path | None = None
        self._choosing_base = asyncio.Lock()

    async def probe(self) -> Capability:
        try:
            sandbox = await self.provision(SandboxSpec(f"{PROBE_SESSION}-{secrets.token_hex(8)}"))
            try:
                await _self_test(sandbox)
            finally:
                await sandbox.destroy(keep_files=False)
        except (SandboxUnavailable, SandboxLost) as error:
            return Capability(self.name, False, "none", why_not=str(error))
        return Capability(self.name, True, self._isolation(), self._enforced(), self._lacks())

    async def provision(self, spec: SandboxSpec) -> BubblewrapSandbox:
        if problem := remedy.missing_program(self._bwrap):
            raise SandboxUnavailable(problem)
        folder = Folder(self._sessions, spec.session_id)
        try:
            await self.end(spec.session_id)
            renewed = folder.spec() is not None
            base = await self._base(folder) if self._root else 0
            await asyncio.to_thread(self._prepare, folder, spec, base)
            if self._egress:
                await self._egress.open(spec.session_id, folder.egress_socket, spec.networking)
            start = await asyncio.to_thread(self._launch, folder, base)
        except OSError as error:
            raise SandboxUnavailable(f"a sandbox could not be made: {error}") from error
        try:
            sandbox, _ = await asyncio.gather(self._join(folder, spec, renewed=renewed), asyncio.to_thread(start.wait))
            return sandbox
        except SandboxLost as error:
            await asyncio.to_thread(start.wait)
            await self.end(spec.session_id)
            raise SandboxUnavailable(remedy.failed_start(start.said(), str(error))) from None
        finally:
            start.close()

    async def attach(self, session_id: str) -> BubblewrapSandbox | None:
        folder = Folder(self._sessions, session_id)
        spec = folder.spec()
        if spec is None or living_keeper(folder.path) is None:
            return None
        if self._egress:
            await self._egress.open(session_id, folder.egress_socket, spec.networking)
        try:
            return await self._join(folder, spec, renewed=False)
        except SandboxLost:
            return None

    async def update(self, old: SandboxSpec, spec: SandboxSpec) -> bool:
        """As `Sandbox.update`, for the living sandbox that was made or last updated for `old`."""
        folder = Folder(self._sessions, spec.session_id)
        if not folder.files.is_dir():  # made by a version that bound each upload by itself
            return False
        try:
            await asyncio.to_thread(folder.update_spec, old, spec, folder.base() or 0)
            if self._egress and spec.networking != old.networking:
                await self._egress.open(spec.session_id, folder.egress_socket, spec.networking)
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox could not be updated: {error}") from error
        return True

    async def end(self, session_id: str) -> None:
        """End every process of the session's sandbox, if there are any; its files stay."""
        folder = Folder(self._sessions, session_id)
        if self._egress:
            await self._egress.close(session_id)
        await asyncio.to_thread(self._end, folder)

    async def forget(self, session_id: str) -> None:
        await self.end(session_id)
        await asyncio.to_thread(Folder(self._sessions, session_id).remove)

    async def living(self) -> Sequence[str]:
        return [name for name in session_ids(self._sessions) if not name.startswith(PROBE_SESSION)]

    async def outputs(self, session_id: str) -> Sequence[OutputFile]:
        return await asyncio.to_thread(outputs, Folder(self._sessions, session_id).path / "outputs")

    async def read_output(self, session_id: str, path: str) -> AsyncIterator[bytes]:
        root = Folder(self._sessions, session_id).path / "outputs"
        with os.fdopen(await asyncio.to_thread(open_beneath, root, path), "rb", buffering=0) as file:
            while chunk := await asyncio.to_thread(file.read, READ_CHUNK_BYTES):
                yield chunk

    async def aclose(self) -> None:
        await asyncio.to_thread(self._launcher.close)

    def disk_watch(self, session_id: str) -> DiskWatch:
        """For a sandbox of the session."""
        folders = [Folder(self._sessions, session_id).path / name for name in KEPT_FOLDERS]
        return DiskWatch(lambda: self._meter.used_bytes(folders), self._limits.disk_bytes)

    def _prepare(self, folder: Folder, spec: SandboxSpec, base: int) -> None:
        """Blocks. Raises SandboxUnavailable, OSError."""
        self._sessions.mkdir(parents=True, exist_ok=True)
        refuse_without_room(self._sessions)
        folder.prepare(spec, base)

    def _end(self, folder: Folder) -> None:
        """Blocks. Holds off a launcher that is still at work for a server that is gone, and voids its ticket."""
        with folder.locked():
            folder.void_ticket()
            if keeper := living_keeper(folder.path):
                try:
                    keeper.end()
                except TimeoutError as error:
                    raise SandboxUnavailable(f"a sandbox of {folder.session_id} does not end: {error}") from error
        self._groups.remove(folder.session_id)

    async def _base(self, folder: Folder) -> int:
        async with self._choosing_base:
            if (base := folder.base()) is None:
                others = (Folder(self._sessions, name).base() for name in session_ids(self._sessions))
                base = choose_base({other for other in others if other}, reserved_ranges())
                folder.keep_base(base)
            return base

    def _launch(self, folder: Folder, base: int) -> Start:
        """Blocks, raises OSError."""
        image = self._image = self._image or shared_image(self._images)
        view = command.View(image, folder.path, bool(base), self._egress is not None)
        request = {
            "argv": command.bwrap_arguments(self._bwrap or "", view, self._limits.tmp_bytes, self._orphan_ttl_s),
            "base": base,
            "ids": IDS_PER_SANDBOX,
            "stage": command.staged(view),
            "rlimits": {
                "NPROC": self._limits.processes,
                "FSIZE": self._limits.file_bytes,
                "DATA": self._limits.memory_bytes,
                "CORE": 0,
                "NOFILE": 65_536,
                "MEMLOCK": 64 << 20,
            },
            "cgroups": self._groups.make(folder.session_id),
            "folder": str(folder.path),
            "ticket": folder.new_ticket(),
        }
        seccomp = os.memfd_create("seccomp")
        try:
            os.write(seccomp, sandbox_filter(this_machine()))
            os.lseek(seccomp, 0, os.SEEK_SET)
            with _listener(folder.socket) as listener:
                return self._launcher.start(request, listener.fileno(), seccomp)
        finally:
            os.close(seccomp)

    async def _join(self, folder: Folder, spec: SandboxSpec, *, renewed: bool) -> BubblewrapSandbox:
        toolhost = await connect(folder.socket)
        try:
            await toolhost.hello()
        except BaseException:
            await toolhost.aclose()
            raise
        return BubblewrapSandbox(self, spec, toolhost, renewed=renewed)

    def _isolation(self) -> str:
        ids = f"{IDS_PER_SANDBOX} user ids of its own" if self._root else "one user id"
        return (
            f"bubblewrap: namespaces of its own, {ids}, no network but the proxy, a system-call filter; shared kernel"
        )

    def _enforced(self) -> tuple[str, ...]:
        memory = "memory (control group)" if "memory" in self._groups.controllers else "memory of each process (rlimit)"
        pids = "processes (control group and rlimit)" if "pids" in self._groups.controllers else "processes (rlimit)"
        cpu = ["processor time (control group)"] if "cpu" in self._groups.controllers else []
        disk = ["disk (measured while calls run)"] if can_measure() else []
        return (memory, pids, *cpu, *disk, "size of each file (rlimit)", "time of each call")

    def _lacks(self) -> tuple[str, ...]:
        memory = [] if "memory" in self._groups.controllers else ["memory of all processes together"]
        cpu = [] if "cpu" in self._groups.controllers else ["share of the processor"]
        disk = "disk quota by the kernel" if can_measure() else "disk quota: there is no program `du`"
        return (*memory, disk, *cpu, "apt packages")


def _listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_address(path) as address:
            listener.bind(address)
        listener.listen(LISTEN_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


async def _self_test(sandbox: BubblewrapSandbox) -> None:
    """That it runs a program, keeps a file, and has no other interface than loopback. Raises SandboxUnavailable."""
    test = (
        "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; echo kept >/workspace/probe && cat /workspace/probe"
    )
    result = await sandbox.execute("bash", {"command": test}, call_id="probe", epoch=0, timeout_s=30)
    if [block["text"] for block in result.content] != ["lo\nkept"]:
        raise SandboxUnavailable(f"a sandbox started, but its self-test failed: {result.content[0]['text']}")
