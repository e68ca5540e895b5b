"""A disk that can lose its power: what was not synced is lost, or some of it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType

import apsw

Survives = Callable[[], bool]
Change = Callable[[bytearray], None]

REAL = "unix"
"""SQLite's own file system, which does the work."""


@dataclass
class Platter:
    """The bytes of one file that outlive a power cut, and the writes since the last sync, which may not."""

    moment: Lock
    """Held by whatever changes a file of the disk, so that a cut sees all files at one moment."""
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        with self.moment:
            self.unsynced.append(change)

    def sync(self) -> None:
        with self.moment:
            for change in self.unsynced:
                change(self.durable)
            self.unsynced = []

    def after_cut(self, survives: Survives) -> bytes:
        image = bytearray(self.durable)
        for change in self.unsynced:
            if survives():
                change(image)
        return bytes(image)


def _write(data: bytes, offset: int) -> Change:
    def change(image: bytearray) -> None:
        image.extend(bytes(max(0, offset - len(image))))
        image[offset : offset + len(data)] = data

    return change


def _truncate(size: int) -> Change:
    def change(image: bytearray) -> None:
        del image[size:]

    return change


class _File(apsw.VFSFile):
    def __init__(self, platter: Platter, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(REAL, name, flags)
        self._platter = platter

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._platter.change(_write(bytes(data), offset))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._platter.change(_truncate(newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._platter.sync()


class Disk(apsw.VFS):
    """While it is entered, every database opened in this process lies on this disk.

    The shared-memory file is no part of it: SQLite makes it anew from the log.
    """

    def __init__(self) -> None:
        self.platters: dict[str, Platter] = {}
        self._moment = Lock()
        super().__init__("disk", REAL, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        file = str(name.filename() if isinstance(name, apsw.URIFilename) else name)
        return _File(self.platters.setdefault(Path(file).name, Platter(self._moment)), name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self.platters.pop(Path(filename).name, None)

    def cut(self, folder: Path, survives: Survives = lambda: False) -> Path:
        """What the disk would hold had the power gone at this moment, in a folder of its own."""
        with self._moment:
            images = {name: platter.after_cut(survives) for name, platter in self.platters.items()}
        folder.mkdir()
        for name, image in images.items():
            (folder / name).write_bytes(image)
        return folder

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unregister()
