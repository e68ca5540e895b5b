"""The machine's package hosts come from its own configuration."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from roost.proxy.packages import QUESTIONS, asked_hosts, package_hosts
from roost.proxy.rules import Rules
from roost.sandbox.interface import Networking


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_hosts_are_read_from_files_and_variables_and_comments_are_not(tmp_path: Path) -> None:
    write(
        tmp_path, "etc/pip.conf", "[global]\nindex-url = https://user:secret@pip.test:8443/simple\n# http://no.test/\n"
    )
    write(tmp_path, "home/u/.npmrc", "registry=https://NPM.test./\n;registry=https://no2.test/")
    write(tmp_path, "etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://apt.test/debian\n")
    write(tmp_path, "etc/apt/sources.list", "deb http://apt2.test/debian stable main\ndeb http://2130706433/ x y")
    write(tmp_path, "named.conf", "index-url=http://named.test/")
    environ = {"HOME": "/home/u", "PIP_CONFIG_FILE": "/named.conf", "GOPROXY": "https://go.test,direct"}
    expected = {"pip.test", "npm.test", "apt.test", "apt2.test", "named.test", "go.test"}
    assert package_hosts(environ, tmp_path) == expected


def test_a_machine_without_configuration_has_no_package_hosts(tmp_path: Path) -> None:
    assert package_hosts({}, tmp_path) == frozenset()


@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")
async def test_npm_is_asked_where_it_fetches_from(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "npm_config_registry": "http://npm.test:4873/",
    }
    assert await asked_hosts(environ, [QUESTIONS["npm"]]) == {"npm.test"}


async def test_pip_is_asked_with_all_of_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://pip.test/simple\n")
    environ = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_EXTRA_INDEX_URL": "http://x.test",
    }
    found = await asked_hosts(environ, [QUESTIONS["pip"]])
    if not found:
        pytest.skip("the system's Python has no pip")
    assert found == {"pip.test", "x.test"}


async def test_pip_s_default_comes_with_the_host_of_its_files(tmp_path: Path) -> None:
    found = await asked_hosts({"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}, [QUESTIONS["pip"]])
    if not found:
        pytest.skip("the system's Python has no pip")
    assert len(found) == 2


async def test_tools_that_fail_or_are_not_there_are_no_error() -> None:
    questions = (("/no/such/tool",), ("/bin/sh", "-c", "echo http://a.test; exit 1"), ("/bin/sh", "-c", "env"))
    assert await asked_hosts({"SECRET": "http://secret.test", "GOPROXY": "http://go.test"}, questions) == {"go.test"}


def test_hosts_that_are_found_out_later_count_for_rules_in_force() -> None:
    hosts: set[str] = set()
    asks, never = (Rules(Networking("limited", (), allows), hosts) for allows in (True, False))
    hosts.add("pip.test")
    assert (asks.allow("pip.test"), never.allow("pip.test")) == (True, False)
