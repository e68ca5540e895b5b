"""Environments: what a sandbox may reach (contract/environments.md, behaviour/03 section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from roost.wire.fields import Description, Metadata, MetadataPatch, Name, unbuilt, unbuilt_value
from roost.wire.shape import Params, Wire

ALLOWED_HOSTS_MAX = 1_000

_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?")


def _host_pattern(host: str) -> str:
    if not _HOST.fullmatch(host.lower()):
        raise ValueError(
            f"{host!r} must be a host name such as example.com, or *.example.com for its subdomains, without scheme, "
            "port or path"
        )
    return host


def mcp_hosts(mcp_servers: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The hosts of the URLs of an agent's MCP servers, in lower case, each once."""
    hosts = (urlsplit(server["url"]).hostname for server in mcp_servers)
    return tuple(dict.fromkeys(host for host in hosts if host))


HostPattern = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_host_pattern)]
Scope = Annotated[Literal["organization", "account"], AfterValidator(unbuilt_value("account"))]
NoPackages = Annotated[list[Any] | None, AfterValidator(unbuilt("packages"))]


class UnrestrictedParams(Params):
    type: Literal["unrestricted"]


class LimitedParams(Params):
    type: Literal["limited"]
    allowed_hosts: Annotated[list[HostPattern], Field(max_length=ALLOWED_HOSTS_MAX)] | None = None
    allow_mcp_servers: bool | None = None
    allow_package_managers: bool | None = None


class PackagesParams(Params):
    type: Literal["packages"] | None = None
    apt: NoPackages = None
    cargo: NoPackages = None
    gem: NoPackages = None
    go: NoPackages = None
    npm: NoPackages = None
    pip: NoPackages = None


NetworkingParams = Annotated[UnrestrictedParams | LimitedParams, Field(discriminator="type")]


class CloudConfigParams(Params):
    type: Literal["cloud"]
    networking: NetworkingParams | None = None
    packages: PackagesParams | None = None


class SelfHostedConfigParams(Params):
    type: Literal["self_hosted"]


ConfigParams = Annotated[CloudConfigParams | SelfHostedConfigParams, Field(discriminator="type")]


class EnvironmentCreate(Params):
    name: Name
    config: ConfigParams | None = None
    description: Description | None = None
    metadata: Metadata = {}
    scope: Scope | None = None


class EnvironmentUpdate(Params):
    """Null for `name` or `config` counts as left out; a metadata value of null or "" deletes its key."""

    name: Name | None = None
    config: ConfigParams | None = None
    description: Description | None = None
    metadata: MetadataPatch | None = None
    scope: Scope | None = None


class Unrestricted(Wire):
    type: Literal["unrestricted"] = "unrestricted"


class Limited(Wire):
    """Nothing is open but what is listed."""

    type: Literal["limited"] = "limited"
    allowed_hosts: list[str] = []
    allow_mcp_servers: bool = False
    allow_package_managers: bool = False


class Packages(Wire):
    type: Literal["packages"] = "packages"
    apt: list[str] = []
    cargo: list[str] = []
    gem: list[str] = []
    go: list[str] = []
    npm: list[str] = []
    pip: list[str] = []


Networking = Annotated[Unrestricted | Limited, Field(discriminator="type")]


class CloudConfig(Wire):
    type: Literal["cloud"] = "cloud"
    networking: Networking = Unrestricted()
    packages: Packages = Packages()


class SelfHostedConfig(Wire):
    """The tools run on machines of the user's own, whose workers take sessions from the work queue."""

    type: Literal["self_hosted"] = "self_hosted"


Config = Annotated[CloudConfig | SelfHostedConfig, Field(discriminator="type")]


class Environment(Wire):
    id: str
    type: Literal["environment"] = "environment"
    name: str
    description: str | None
    config: Config
    metadata: dict[str, str]
    created_at: str
    updated_at: str
    archived_at: str | None = None
    scope: Literal["organization"] = "organization"
