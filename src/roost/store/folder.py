"""The data folder: private to its owner, and used by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from roost.store.protocols import StoreError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
OWN_NAMES = frozenset(("roost.lock", "admin.key", "blobs", "sandboxes", "server.log"))
"""What may lie in a data folder before its database does."""


class FolderInUse(StoreError):
    """Another process has the data folder open."""


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Makes the folder, with what is missing above it, and closes it to everybody but its owner."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    folder.chmod(FOLDER_MODE)


def make_data_folder(folder: Path) -> None:
    """As `make_folder`, for the folder that an operator names.

    Raises StoreError where it holds something else: closing `/tmp` or a home would harm its other users.
    """
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if "roost.db" not in names and not names <= OWN_NAMES:
        raise StoreError(f"{folder} holds other things and is no data folder of Roost; choose an empty or a new one")
    make_folder(folder)


class FolderLock:
    """Held from construction until `release`; the kernel frees it when the process dies, however it dies.

    Raises FolderInUse, with the pid of the holder, when another process (or this one, a second time) holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = os.open(folder / "roost.lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode().strip() or "unknown"
            os.close(self._handle)
            raise FolderInUse(
                f"{folder} is in use by another Roost process (pid {holder}); stop it or choose another data folder"
            ) from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """May be called twice."""
        handle, self._handle = self._handle, -1
        with contextlib.suppress(OSError):
            os.close(handle)
