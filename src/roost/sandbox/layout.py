"""What the server keeps of a sandbox, in a folder named after its session.

    <state>/<session id>/
        spec.json     what the sandbox was made for
        ticket        what the launcher must bring to make a sandbox here
        base          first id of its uid range (root servers)
        keeper        pid and start time of its keeper
        toolhost.sock the toolhost's socket; not visible inside
        egress/       the egress proxy's socket; read-only inside
        files/        the uploads; read-only inside, changed while the sandbox lives
        arriving/     uploads on their way to files/
        workspace/ outputs/ home/    read-write inside, kept until the session is forgotten

All of it may be closed to everybody but the server: the launcher binds it where the sandbox finds it. What the agent
writes is read by the server only through `outputs` and `read_output` below, which never follow a link.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

import orjson

from roost.sandbox.interface import Networking, OutputFile, SandboxSpec, Upload
from roost.sandbox.uploads import fetch, make_open_folder, places, put_in_place

KEPT_FOLDERS = ("workspace", "outputs", "home")
OUTPUT_FILES_MAX = 10_000
"""More outputs than that are not listed."""
OUTPUT_DEPTH_MAX = 32
READ_CHUNK_BYTES = 1 << 18

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Folder:
    """The folder of one session's sandbox. Raises ValueError for an id that is no plain name."""

    def __init__(self, state_dir: Path, session_id: str) -> None:
        if not _SESSION_ID.fullmatch(session_id):
            raise ValueError("a session id is letters, digits, '_' and '-'")
        self.session_id = session_id
        self.path = state_dir / session_id
        self.socket = self.path / "toolhost.sock"
        self.egress_socket = self.path / "egress" / "proxy.sock"
        self.files = self.path / "files"

    def prepare(self, spec: SandboxSpec, base: int) -> None:
        """Make what is missing, owned by the sandbox's user. No sandbox may live in the folder.

        Raises as `update_spec`.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (*KEPT_FOLDERS, "egress"):
            folder = self.path / name
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                if base:
                    os.chown(folder, base, base)
        shutil.rmtree(self.files, ignore_errors=True)
        make_open_folder(self.files)
        self.update_spec(SandboxSpec(spec.session_id), spec, base)

    def update_spec(self, old: SandboxSpec, spec: SandboxSpec, base: int) -> None:
        """Show the new spec's uploads instead of the old one's, and write the spec down. Blocks.

        Raises SandboxUnavailable for an upload that is gone or cannot be placed, with nothing changed; OSError for a
        disk that is full.
        """
        before, wanted = places(old.uploads), places(spec.uploads)
        kept = {place: upload for place, upload in wanted.items() if before.get(place) == upload}
        new = {place: upload for place, upload in wanted.items() if place not in kept}
        arriving = self.path / "arriving"
        try:
            fetched = fetch(new, arriving, own_range=bool(base))
            # Should the server end now, the next one takes nothing for granted that may be changed already.
            self._keep_spec(replace(spec, uploads=tuple(kept.values())))
            put_in_place(self.files, fetched, kept=kept)
            self._keep_spec(spec)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _keep_spec(self, spec: SandboxSpec) -> None:
        write_whole(self.path / "spec.json", orjson.dumps(spec))

    def spec(self) -> SandboxSpec | None:
        """What the sandbox was made for, if one was."""
        try:
            fields = orjson.loads((self.path / "spec.json").read_bytes())
        except (OSError, ValueError):
            return None
        rules = fields["networking"]
        networking = Networking(rules["type"], tuple(rules["allowed_hosts"]), rules["allow_package_managers"])
        return SandboxSpec(fields["session_id"], networking, tuple(Upload(**upload) for upload in fields["uploads"]))

    def base(self) -> int | None:
        """The first id of the range that the session's files belong to."""
        try:
            return int((self.path / "base").read_text())
        except (OSError, ValueError):
            return None

    def keep_base(self, base: int) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.path / "base", str(base).encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the folder: no launcher is making a sandbox in it meanwhile. Blocks while one does."""
        try:
            here = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield
            return
        try:
            fcntl.flock(here, fcntl.LOCK_EX)
            yield
        finally:
            os.close(here)

    def new_ticket(self) -> str:
        """The right to make one sandbox here, until the next ticket or `void_ticket`."""
        ticket = secrets.token_hex(16)
        write_whole(self.path / "ticket", ticket.encode())
        return ticket

    def void_ticket(self) -> None:
        (self.path / "ticket").unlink(missing_ok=True)

    def remove(self) -> None:
        """Everything, whatever modes the agent gave its folders."""
        if not self.path.exists():
            return
        if os.geteuid() != 0:
            for folder, _, _ in os.walk(self.path):
                os.chmod(folder, 0o700)
        shutil.rmtree(self.path)


def outputs(root: Path) -> list[OutputFile]:
    """Every regular file below the folder, by path. Links are not followed and not listed."""
    found: list[OutputFile] = []
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return found
    for folder, folders, names, fd in os.fwalk(".", dir_fd=top):
        if folder.count("/") >= OUTPUT_DEPTH_MAX:
            folders.clear()
        for name in names:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and len(found) < OUTPUT_FILES_MAX:
                path = os.path.normpath(f"{folder}/{name}")
                found.append(OutputFile(path, status.st_size, status.st_mtime_ns))
    os.close(top)
    return sorted(found, key=lambda file: file.path)


def open_beneath(root: Path, path: str) -> int:
    """A descriptor of a regular file below the folder, opened without following any link.

    Raises FileNotFoundError for anything else.
    """
    *folders, name = PurePosixPath(path).parts or ("",)
    here = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for folder in folders:
            if folder in ("..", "/"):
                raise FileNotFoundError(path)
            below = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except OSError:
        raise FileNotFoundError(path) from None
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(path)
    return file


def session_ids(state_dir: Path) -> Iterator[str]:
    """Every session that has a folder, with a living sandbox or not."""
    if state_dir.is_dir():
        yield from (path.name for path in state_dir.iterdir() if _SESSION_ID.fullmatch(path.name))


def write_whole(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.rename(path)
