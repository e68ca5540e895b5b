"""The package hosts of this machine: where its pip, npm, apt, cargo and Go are set up to fetch from.

`allow_package_managers` opens these hosts and those of the setting `package_hosts`. They are read at the start, from
configuration files and variables, so that a company mirror just works and no list of registries is kept here. A
tool's built-in default is not in its configuration: where none is set up, name the hosts in `ROOST_PACKAGE_HOSTS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from roost.proxy.rules import BadTarget, canonical_host

_URL = re.compile(r"https?://(?:[^\s/@\"']*@)?([A-Za-z0-9_.-]+)")
_FILES = (
    "/etc/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
    "/etc/npmrc",
    "~/.npmrc",
    "~/.config/uv/uv.toml",
    "/etc/uv/uv.toml",
    "~/.cargo/config.toml",
    "~/.gemrc",
    "/etc/apt/sources.list",
)
_FOLDERS = (("/etc/apt/sources.list.d", "*.list"), ("/etc/apt/sources.list.d", "*.sources"))
_VARIABLES = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX",
    "npm_config_registry", "NPM_CONFIG_REGISTRY", "GOPROXY",
)  # fmt: skip


def package_hosts(environ: Mapping[str, str], root: Path = Path("/")) -> frozenset[str]:
    """The hosts that this machine's package managers are set up to use."""
    home = Path(environ.get("HOME", "/root"))
    files = [_beneath(root, name, home) for name in _FILES]
    if named := environ.get("PIP_CONFIG_FILE"):
        files.append(_beneath(root, named, home))
    for folder, pattern in _FOLDERS:
        files += sorted(_beneath(root, folder, home).glob(pattern))
    texts = [environ.get(name, "") for name in _VARIABLES]
    return frozenset(_hosts([*texts, *(_read(file) for file in files)]))


def _beneath(root: Path, name: str, home: Path) -> Path:
    path = home / name[2:] if name.startswith("~/") else Path(name)
    return root / path.relative_to("/") if path.is_absolute() else root / path


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _hosts(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.splitlines():
            if line.lstrip().startswith(("#", ";")):
                continue
            for host in _URL.findall(line):
                try:
                    yield canonical_host(host)
                except BadTarget:
                    continue
