"""The files that a sandbox shows read-only, in a folder of the host that stays bound while they come and go.

The sandbox cannot write there, whatever the modes say, so a file may share its bytes with the server's own. It does so
where the sandbox's user can read that one and the file system has links; elsewhere it is a copy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from roost.sandbox.interface import SandboxUnavailable, Upload

UPLOADS = PurePosixPath("/mnt/session/uploads")
NAME_BYTES_MAX = 255
"""Of one file or folder; Linux."""
_OTHERS_READ = 0o004


def places(uploads: Iterable[Upload]) -> dict[str, Upload]:
    """Each upload by its path below the uploads folder.

    Raises SandboxUnavailable for a path that leads elsewhere, that two share, that runs through another's file, or
    that no file system takes.
    """
    found: dict[str, Upload] = {}
    for upload in uploads:
        path = PurePosixPath(upload.mount_path)
        if not path.is_relative_to(UPLOADS) or path == UPLOADS or ".." in path.parts:
            raise SandboxUnavailable(f"{upload.mount_path} does not lie below {UPLOADS}")
        if any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in path.parts):
            raise SandboxUnavailable(f"{upload.mount_path} has a name of more than {NAME_BYTES_MAX} bytes")
        place = str(path.relative_to(UPLOADS))
        if place in found:
            raise SandboxUnavailable(f"two files are to be mounted at {upload.mount_path}")
        found[place] = upload
    for place, upload in found.items():
        for parent in PurePosixPath(place).parents:
            if file := found.get(str(parent)):
                raise SandboxUnavailable(f"{upload.mount_path} needs a folder where {file.mount_path} is a file")
    return found


def fetch(uploads: Mapping[str, Upload], arriving: Path, *, own_range: bool) -> dict[str, Path]:
    """Links or copies in an empty folder `arriving`, by place. `own_range`: the sandbox's user is not the server's.

    Blocks. Raises SandboxUnavailable for a file that is gone, OSError.
    """
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(mode=0o700)
    fetched = {place: arriving / str(number) for number, place in enumerate(uploads)}
    for place, target in fetched.items():
        upload = uploads[place]
        try:
            _link_or_copy(upload.source_path, target, own_range=own_range)
        except FileNotFoundError:
            raise SandboxUnavailable(f"the file for {upload.mount_path} is gone") from None
    return fetched


def put_in_place(root: Path, fetched: Mapping[str, Path], *, kept: Iterable[str]) -> None:
    """Make the folder hold what was fetched and what is kept, and nothing else.

    A file that replaces another does so at once. Blocks, raises OSError.
    """
    wanted = {*fetched, *kept}
    for folder, folders, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder, name)
            if str(path.relative_to(root)) not in wanted:
                path.unlink()
        for name in folders:
            if not os.listdir(path := Path(folder, name)):
                path.rmdir()
    for place, file in fetched.items():
        target = root / place
        for parent in reversed(target.relative_to(root).parents[:-1]):
            make_open_folder(root / parent)
        file.rename(target)


def make_open_folder(path: Path) -> None:
    """A folder that every user of the sandbox can read, if there is none."""
    if not path.is_dir():
        path.mkdir()
        path.chmod(0o755)


def _link_or_copy(source: str, target: Path, *, own_range: bool) -> None:
    if not own_range or os.stat(source).st_mode & _OTHERS_READ:
        try:
            os.link(source, target)
            return
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links, or a file of somebody else's
            pass
    shutil.copyfile(source, target)
    target.chmod(0o444)
