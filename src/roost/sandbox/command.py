"""The bubblewrap command line: what a sandbox sees, what it may do, and its environment (sandbox.md section 0)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roost.sandbox.image import CA_BUNDLE, PYTHON
from roost.sandbox.launch import STAGE
from roost.sandbox.toolhost.bridge import PORT

_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SETFCAP",
)
"""What root needs to look after its own files and processes; nothing that reaches the kernel's settings."""

_ENVIRONMENT = {
    "PATH": "/root/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PS1": "",
    "PS2": "",
    # /usr cannot be written, so pip installs below $HOME; that is the sandbox's own, so Debian's guard is not needed.
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}
_PROXY = f"http://127.0.0.1:{PORT}"
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_NO_PROXY = "localhost,127.0.0.1,::1"
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
_TOP_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_START = "import sys; sys.path.insert(0, '/run/roost/lib'); from toolhost.main import main; main(*sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class View:
    """What one sandbox shows of the host."""

    image: Path
    folder: Path
    own_range: bool
    egress: bool


def staged(view: View) -> list[tuple[str, str]]:
    """The folders that the launcher binds below STAGE: (source, name there)."""
    folders = ["files", "workspace", "outputs", "home", *(["egress"] if view.egress else [])]
    return [(str(view.image), "image"), *((str(view.folder / name), name) for name in folders)]


def bwrap_arguments(bwrap: str, view: View, tmp_bytes: int, orphan_ttl_s: float) -> list[str]:
    """The whole command. Words in braces stand for descriptors, which the launcher fills in."""
    return [
        bwrap,
        *_namespaces(view.own_range),
        *_system_folders(),
        *("--ro-bind", f"{STAGE}/image/etc", "/etc"),
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", str(tmp_bytes), "--tmpfs", "/dev/shm"),
        *("--perms", "1777", "--size", str(tmp_bytes), "--tmpfs", "/tmp"),
        *("--size", str(16 << 20), "--tmpfs", "/run", "--dir", "/var", "--symlink", "/tmp", "/var/tmp"),
        *("--ro-bind", f"{STAGE}/image/lib", "/run/roost/lib"),
        *(("--ro-bind", f"{STAGE}/egress", "/run/roost/egress") if view.egress else ()),
        *("--bind", f"{STAGE}/home", "/root", "--bind", f"{STAGE}/workspace", "/workspace"),
        *("--ro-bind", f"{STAGE}/files", "/mnt/session/uploads"),
        *("--bind", f"{STAGE}/outputs", "/mnt/session/outputs"),
        *("--remount-ro", "/", "--chdir", "/workspace"),
        *("--cap-drop", "ALL", *(word for name in _CAPABILITIES for word in ("--cap-add", f"CAP_{name}"))),
        *("--clearenv", *_environment(view.egress)),
        *("--seccomp", "{seccomp}"),
        *("--", PYTHON, "-IS", "-c", _START, "{listener}", str(orphan_ttl_s)),
    ]


def _namespaces(own_range: bool) -> list[str]:
    user = ["--userns", "{userns}"] if own_range else ["--unshare-user"]
    others = [f"--unshare-{name}" for name in ("pid", "ipc", "uts", "cgroup", "net")]
    return [*user, *others, "--uid", "0", "--gid", "0", "--hostname", "sandbox", "--new-session", "--as-pid-1"]


def _system_folders() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _TOP_FOLDERS:
        path = f"/{name}"
        if os.path.islink(path):
            yield from ("--symlink", os.readlink(path), path)
        elif os.path.isdir(path):
            yield from ("--ro-bind", path, path)


def _environment(egress: bool) -> Iterator[str]:
    variables = dict(_ENVIRONMENT)
    variables |= dict.fromkeys(_CA_VARIABLES, CA_BUNDLE)
    if egress:
        variables |= dict.fromkeys(_PROXY_VARIABLES, _PROXY) | {"NO_PROXY": _NO_PROXY, "no_proxy": _NO_PROXY}
    for name, value in variables.items():
        yield from ("--setenv", name, value)
