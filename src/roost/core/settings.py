"""Every limit and default of the server, in one frozen value, read from the environment once at start.

A setting `lease_ttl_s` is the variable `ROOST_LEASE_TTL_S`. A value that cannot be used stops the start with a message
that names the variable and what is allowed; a `ROOST_` variable that nothing reads is reported with the nearest name.
The page docs/reference/settings.md is made from this module.
"""

# ruff: noqa: RUF009  (`setting` makes a dataclass field; the values it is given are immutable)

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from roost.core.telemetry import redact

CLIENT_VARIABLES: Mapping[str, str] = {
    "ROOST_URL": "where the server answers that `roost run`, `ps`, `tail`, `kill` and `keys` talk to",
    "ROOST_ADMIN_KEY": "the operator's key for `roost keys`; without it the key file in the data folder is read",
}
"""Variables that only the command line reads, and what for."""

_MIB = 1024 * 1024
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class SettingsError(ValueError):
    """A setting that cannot be used. The message names the variable and what it may be."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Requests a minute and workspace: creating agents, environments and sessions, and reading (behaviour/07)."""

    create: int = 300
    read: int = 1_200


def setting(default: Any, doc: str, *, at_least: float = 0, env: str = "", secret: bool = False) -> Any:
    """One field of `Settings`: its default, its sentence in the reference, the smallest number allowed."""
    metadata = {"doc": doc, "at_least": at_least, "env": env}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator can set. Times end in `_s` (seconds), sizes in `_bytes_max`, counts in `_max`."""

    host: str = setting("127.0.0.1", "address to listen on; any other than loopback puts the API on the network")
    port: int = setting(8400, "port to listen on; 0 takes a free one")
    data_dir: Path = setting(Path("roost-data"), "the one folder that holds everything the server keeps")
    api_key: str = setting("", "a key to accept besides the kept ones; clients read the same variable", secret=True)
    rate_limits: RateLimits | None = setting(
        RateLimits(), "requests a minute and workspace, as `create=300,read=1200`, or `off`"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "the least record that is logged")
    request_bytes_max: int = setting(32 * _MIB, "size of a JSON request body; above it 413", at_least=1024)
    file_bytes_max: int = setting(500 * _MIB, "size of an uploaded file; above it 413", at_least=1024)
    idempotency_ttl_s: float = setting(86_400, "how long an `Idempotency-Key` is remembered")
    stream_ping_s: float = setting(15, "silence on an event stream after which a ping is sent", at_least=0.01)
    poll_s: float = setting(1, "how often is looked again where a hint may have been lost", at_least=0.05)
    stop_grace_s: float = setting(10, "how long a stopping server waits for running turns before it hands them over")

    anthropic_api_key: str = setting("", "key for Claude models", env="ANTHROPIC_API_KEY", secret=True)
    anthropic_base_url: str = setting(
        "https://api.anthropic.com", "where Claude models answer", env="ANTHROPIC_BASE_URL"
    )
    model: str = setting("", "model of `roost run` and `roost demo`; empty: a Claude model with a key, else `scripted`")
    scripted_plan: Path | None = setting(None, "file with the plan of the `scripted` model, for messages without one")
    model_stall_s: float = setting(120, "silence in a model's reply after which it counts as broken", at_least=1)
    model_retries_max: int = setting(5, "how often a failed model request is tried again")
    retry_first_s: float = setting(0.5, "pause before the first retry; doubles each time")
    retry_pause_max_s: float = setting(30, "longest pause of that doubling")
    retry_jitter: float = setting(0.25, "random part of a pause, as a fraction of it")
    retry_after_max_s: float = setting(600, "longest `retry-after` of a model that is obeyed")
    output_tokens_max: int = setting(32_000, "`max_tokens` asked for, where the model can give that many", at_least=1)
    max_tokens_strikes_max: int = setting(3, "replies in a row cut inside a tool call that end the turn", at_least=1)
    tool_rounds_max: int = setting(1_000, "model requests of one turn", at_least=1)

    turns_max: int = setting(4_000, "sessions that run side by side in this process; the others wait", at_least=1)
    lease_ttl_s: float = setting(30, "how long a session is held without a sign of life", at_least=1)
    lease_renew_s: float = setting(10, "how often that sign is given", at_least=0.1)

    require_isolation: bool = setting(False, "refuse to start where no sandbox works, instead of refusing tool calls")
    tool_timeout_s: float = setting(
        150, "time a tool call gets; a `bash` call that asks for a longer one gets that", at_least=1
    )
    sandboxes_max: int = setting(256, "sandboxes alive at once; the longest idle one goes first", at_least=1)
    sandbox_idle_s: float = setting(1_800, "idle time after which a sandbox ends; its files stay", at_least=1)
    sandbox_memory_bytes_max: int = setting(8 * 1024 * _MIB, "memory of a sandbox", at_least=64 * _MIB)
    sandbox_processes_max: int = setting(1_024, "processes and threads in a sandbox", at_least=16)
    sandbox_cpus_max: float = setting(4, "processor time of a sandbox for each second, in processors", at_least=0.1)
    sandbox_disk_bytes_max: int = setting(
        10 * 1024 * _MIB, "disk that the files of a sandbox take up, measured while calls run", at_least=_MIB
    )
    sandbox_file_bytes_max: int = setting(10 * 1024 * _MIB, "size of one file written in a sandbox", at_least=_MIB)

    trusted_cidrs: tuple[str, ...] = setting(
        (), "private ranges that sandboxes may reach all the same, such as a company mirror's; comma-separated"
    )
    package_hosts: tuple[str, ...] = setting(
        (), "hosts that `allow_package_managers` opens besides those set up on this machine; comma-separated"
    )
    upstream_proxy: str = setting(
        "", "HTTP proxy that traffic out of sandboxes goes through, as `http://[user:password@]host:port`", secret=True
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value, at_least = getattr(self, item.name), item.metadata["at_least"]
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= at_least):
                raise SettingsError(f"{variable(item.name)} must be at least {at_least:g}, not {value:g}")
        if not 0 <= self.port <= 65_535:
            raise SettingsError(f"{variable('port')} must be a port from 0 to 65535, not {self.port}")
        if self.lease_renew_s * 2 > self.lease_ttl_s:
            raise SettingsError(f"{variable('lease_renew_s')} must be at most half of {variable('lease_ttl_s')}")
        for cidr in self.trusted_cidrs:
            _network(cidr)
        for host in self.package_hosts:
            _host(host)
        _addresses(self)
        if _listens_at(self.anthropic_base_url, self.host, self.port):
            raise SettingsError(
                f"{variable('anthropic_base_url')} is this server's own address: it must name the model, and "
                f"a client of Roost is better given ROOST_URL or its own base_url"
            )


def read_settings(environ: Mapping[str, str], warn: Callable[[str], object], **overrides: Any) -> Settings:
    """The settings an environment asks for; `overrides` (command-line options that were given) win over it.

    `warn` gets one sentence for every `ROOST_` variable that nothing reads. Raises SettingsError.
    """
    hints = get_type_hints(Settings)
    known = {variable(item.name): item.name for item in fields(Settings)}
    for name in sorted(environ):
        if name.startswith("ROOST_") and name not in known and name not in CLIENT_VARIABLES:
            warn(_unknown(name, [*known, *CLIENT_VARIABLES]))
    values = {
        field_name: _parse(name, environ[name].strip(), hints[field_name])
        for name, field_name in known.items()
        if environ.get(name, "").strip() and overrides.get(field_name) is None
    }
    return Settings(**values, **{name: value for name, value in overrides.items() if value is not None})


def variable(field_name: str) -> str:
    """The environment variable of a field."""
    item = next(item for item in fields(Settings) if item.name == field_name)
    return item.metadata["env"] or f"ROOST_{field_name.upper()}"


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name} is not a setting and was ignored" + (f"; did you mean {near[0]}?" if near else "")


def _parse(name: str, text: str, kind: Any) -> Any:
    parse, allowed = _parser(kind)
    try:
        return parse(text)
    except (ValueError, KeyError):
        raise SettingsError(f"{name} must be {allowed}, not {text!r}") from None


def _parser(kind: Any) -> tuple[Callable[[str], Any], str]:
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return lambda text: {choice: choice for choice in choices}[text], "one of " + ", ".join(choices)
    if kind in _PARSERS:
        return _PARSERS[kind]
    raise TypeError(f"a setting of type {kind} cannot be read from the environment")


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


def _rate_limits(text: str) -> RateLimits | None:
    if text == "off":
        return None
    values = {key: int(value) for key, _, value in (part.partition("=") for part in _names(text))}
    if not values or not values.keys() <= {"create", "read"} or min(values.values()) < 1:
        raise ValueError(text)
    return RateLimits(**values)


_PARSERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (_flag, "true or false"),
    Path: (Path, "a path"),
    Path | None: (Path, "a path"),
    tuple[str, ...]: (_names, "names separated by commas"),
    RateLimits | None: (_rate_limits, "`off`, or limits such as `create=300,read=1200`"),
}


def _network(cidr: str) -> None:
    try:
        ipaddress.ip_network(cidr)
    except ValueError:
        raise SettingsError(f"{variable('trusted_cidrs')} must hold ranges such as 10.1.0.0/16, not {cidr!r}") from None


def _host(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not _HOST.fullmatch(text):
            raise SettingsError(
                f"{variable('package_hosts')} must hold host names such as packages.example.com, in lower case, "
                f"not {redact(text)!r}"
            ) from None


def _addresses(settings: Settings) -> None:
    """The values are not repeated: both may hold a password."""
    if not _is_url(settings.anthropic_base_url, "http", "https"):
        raise SettingsError(f"{variable('anthropic_base_url')} must be an address such as https://gateway.example.com")
    proxy = settings.upstream_proxy
    if proxy and not (_is_url(proxy, "http") and urlsplit(proxy).port and not urlsplit(proxy).path.strip("/")):
        raise SettingsError(f"{variable('upstream_proxy')} must be an address as http://host:port")


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", text)
    except ValueError:
        return False


def _listens_at(url: str, host: str, port: int) -> bool:
    parts = urlsplit(url)
    names = (
        {host, "localhost", "127.0.0.1", "::1"}
        if host in ("127.0.0.1", "localhost", "0.0.0.0", "::1", "::")
        else {host}
    )
    return bool(port) and parts.hostname in names and (parts.port or {"https": 443}.get(parts.scheme, 80)) == port
