"""The package hosts of this machine: where its pip, npm, apt, cargo and Go are set up to fetch from.

`allow_package_managers` opens these hosts and those of the setting `package_hosts`. Configuration files and variables
are read at the start, so that a company mirror just works and no list of registries is kept here. What a tool falls
back to is in no configuration: pip, npm, gem and Go are asked for it themselves, where they are installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

_PIP = """
from pip._internal.commands import create_command
from pip._internal.models.index import PyPI
options, _ = create_command("download").parse_args([])
print(options.index_url, *options.extra_index_urls)
if options.index_url == PyPI.simple_url:
    print(f"https://{PyPI.file_storage_domain}")
"""
"""Where pip would fetch from, all its configuration considered, and where the default index keeps the files."""
QUESTIONS: Mapping[str, Sequence[str]] = {
    "pip": ("/usr/bin/python3", "-c", _PIP),
    "npm": ("npm", "config", "get", "registry", "--logs-max=0"),
    "gem": ("gem", "sources"),
    "go": ("go", "env", "GOPROXY"),
}
"""Commands that print the addresses a package manager uses; they reach for nothing."""
ANSWER_TIMEOUT_S = 20.0
_PASSED_ON = re.compile(r"PATH|HOME|(PIP|UV|GO|npm_config|NPM_CONFIG)_?.*")
"""Variables that the tools may see; nothing else of the server's is their business."""


async def asked_hosts(
    environ: Mapping[str, str], questions: Iterable[Sequence[str]] = tuple(QUESTIONS.values())
) -> frozenset[str]:
    """The hosts that the package managers themselves say they use; none of one that is not there or does not answer."""
    shown = {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
    return frozenset(_hosts(await asyncio.gather(*(_answer(question, shown) for question in questions))))


async def _answer(question: Sequence[str], environ: Mapping[str, str]) -> str:
    try:
        tool = await asyncio.create_subprocess_exec(
            *question, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environ, cwd=os.sep
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            said, _ = await tool.communicate()
    except TimeoutError:
        return ""
    finally:
        if tool.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                tool.kill()
            await tool.wait()
    return said.decode(errors="replace") if tool.returncode == 0 else ""


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
