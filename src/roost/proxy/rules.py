"""Where a request wants to go, read in exactly one way, and whether an environment's networking lets it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}")
_PATH = re.compile(r"[!-~]*")


class Networking(Protocol):
    """What is read of an environment's networking; `roost.sandbox.interface.Networking` is one."""

    @property
    def type(self) -> str: ...
    @property
    def allowed_hosts(self) -> Collection[str]: ...
    @property
    def allow_package_managers(self) -> bool: ...


class BadTarget(ValueError):
    """A target that is not a host and a port in the one accepted spelling. The message never repeats it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A host in canonical form (lower case, no trailing dot, shortest IPv6) and a port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_address(self) -> bool:
        return ":" in self.host or self.host.replace(".", "").isdigit()


def parse_authority(text: str, default_port: int | None = None) -> Target:
    """`host:port`, the port optional where there is a default. Raises BadTarget."""
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or not separator:
        host, port = text, ""
    if not port and default_port is None:
        raise BadTarget("the target needs a port")
    if port and not (_PORT.fullmatch(port) and 1 <= int(port) <= 65_535):
        raise BadTarget("the port must be a number from 1 to 65535")
    return Target(canonical_host(host), int(port) if port else default_port or 0)


def parse_url(text: str) -> tuple[Target, str]:
    """An `http://` URL as its target and its path with query. Raises BadTarget."""
    if not _PATH.fullmatch(text):
        raise BadTarget("the URL holds characters that must be escaped")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() != "http":
        raise BadTarget("send an absolute http:// URL, or CONNECT for everything else")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    path, _, _ = rest[end:].partition("#")
    return parse_authority(rest[:end], 80), path if path.startswith("/") else f"/{path}"


def canonical_host(text: str) -> str:
    """The host in its one form. Raises BadTarget for user info, zones, and addresses written any other way than usual.

    A name whose last label is a number is what some programs read as an address (`2130706433`, `0x7f.1`, `127.1`), so
    it must be a plain dotted quad (WHATWG URL, "ends in a number").
    """
    host = text.lower().removesuffix(".")
    if host.startswith("[") and host.endswith("]"):
        return _address(host[1:-1], version=6)
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadTarget("the host must be a name of letters, digits, '-' and '.', or an address")
    return _address(host, version=4) if _NUMBER.fullmatch(labels[-1]) else host


def _address(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address("" if "%" in text else text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise BadTarget("the address must be written as a.b.c.d or [IPv6] without a zone")
    return str(address)


class Rules:
    """An environment's networking, ready to be asked (behaviour/03 section 3.2).

    `package_hosts` may still grow: what is found out later counts too.
    """

    def __init__(self, networking: Networking, package_hosts: Collection[str] = ()) -> None:
        self.unrestricted = networking.type == "unrestricted"
        hosts = {host.lower().removesuffix(".") for host in networking.allowed_hosts}
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*."))
        self._exact = hosts
        self._package_hosts = package_hosts if networking.allow_package_managers else ()

    def allow(self, host: str) -> bool:
        """Whether the canonical host may be reached, on whatever port; its addresses are checked besides."""
        if self.unrestricted or host in self._exact or host.endswith(self._suffixes):
            return True
        return host in self._package_hosts
