"""The machine's package hosts come from its own configuration."""

from __future__ import annotations

from pathlib import Path

from roost.proxy.packages import package_hosts


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
