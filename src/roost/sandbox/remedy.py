"""Why no sandbox can be had on this machine, and what to do about it, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from roost.sandbox.image import PYTHON

_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_DEBIAN = "/proc/sys/kernel/unprivileged_userns_clone"
_MAXIMUM = "/proc/sys/user/max_user_namespaces"
_CONTAINER_OPTIONS = "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
"""What Docker and Podman must be told for namespaces to be allowed in a container."""
_SYSTEM_NAMES = {"Darwin": "macOS"}


def missing_program(bwrap: str | None) -> str:
    """Empty when the programs, and the system that they are for, are there."""
    if (system := platform.system()) != "Linux":
        return (
            f"sandboxes need Linux, and this is {_SYSTEM_NAMES.get(system, system)}; run the server in a Linux "
            f"container, for example with Docker: docker run {_CONTAINER_OPTIONS}"
        )
    if not bwrap:
        return "bubblewrap is not installed; install it, for example with: apt-get install bubblewrap"
    if not os.access(PYTHON, os.X_OK):
        return f"{PYTHON} is missing, and sandboxes run it; install it, for example with: apt-get install python3"
    return ""


def failed_start(said: str, reason: str) -> str:
    """What a failed start said, with the remedy for the causes that are known."""
    cause = said.splitlines()[-1] if said else reason
    return f"no sandbox could be started ({cause}). {_advice(cause)}".rstrip()


def _advice(cause: str) -> str:
    if "ermission" not in cause and "ermitted" not in cause and "namespace" not in cause:
        return ""
    if _setting(_MAXIMUM) == "0":
        return "User namespaces are switched off; switch them on with: sysctl -w user.max_user_namespaces=15000"
    if _setting(_DEBIAN) == "0":
        return "User namespaces are for root only; open them with: sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting(_APPARMOR) == "1":
        return "AppArmor refuses user namespaces; allow: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return f"This container refuses namespaces; run it with: {_CONTAINER_OPTIONS}"
    return "This machine refuses user namespaces; run the server where they are allowed, or as root."


def _setting(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
