"""Settings of the two web tools (contract/agents.md, Tools; behaviour/03, Domain list rules)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from roost.wire.fields import shorthand
from roost.wire.shape import Params

DOMAINS_MAX = 64
DOMAIN_CHARS_MAX = 255
TOOL_REFERENCES_MAX = 128

_HOST = re.compile(r"(?=.{1,253}(/|$))([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
_LOCAL = ("localhost", "local", "internal", "localdomain", "invalid")


def _host(domain: str, *, path: bool) -> str:
    host, slash, rest = domain.lower().removesuffix("/").partition("/")
    if slash and (not path or not re.fullmatch(r"[!-~]*", rest)):
        raise ValueError(f"{domain!r} must be a host name without a path")
    if not _HOST.fullmatch(host) or host.rpartition(".")[2] in _LOCAL:
        raise ValueError(f"{domain!r} must be a plain host name such as example.com, without scheme, port or wildcard")
    return domain


def _plain(domain: str) -> str:
    return _host(domain, path=False)


def _with_path(domain: str) -> str:
    return _host(domain, path=True)


def _distinct(domains: list[str]) -> list[str]:
    if len({domain.lower().removesuffix("/") for domain in domains}) < len(domains):
        raise ValueError("the same domain is named twice")
    return domains


_Text = StringConstraints(min_length=1, max_length=DOMAIN_CHARS_MAX)
_Count = Field(min_length=1, max_length=DOMAINS_MAX)
Hosts = Annotated[list[Annotated[str, _Text, AfterValidator(_plain)]], _Count, AfterValidator(_distinct)]
Sites = Annotated[list[Annotated[str, _Text, AfterValidator(_with_path)]], _Count, AfterValidator(_distinct)]


class ToolReference(Params):
    type: Literal["tool_reference"]
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Switch(Params):
    """A source that is open or closed as a whole."""

    type: Literal["all", "none"]


def _distinct_tools(tools: list[ToolReference]) -> list[ToolReference]:
    if len({tool.name for tool in tools}) < len(tools):
        raise ValueError("the same tool is named twice")
    return tools


class Selection(Params):
    """The results of some tools, or of all but some."""

    type: Literal["only", "except"]
    tools: Annotated[
        list[ToolReference], Field(min_length=1, max_length=TOOL_REFERENCES_MAX), AfterValidator(_distinct_tools)
    ]


Source = Annotated[Switch, BeforeValidator(shorthand("type"), json_schema_input_type=Switch | str)]
_Filter = Annotated[Switch | Selection, Field(discriminator="type")]
Filter = Annotated[_Filter, BeforeValidator(shorthand("type"), json_schema_input_type=_Filter | str)]


class UrlSources(Params):
    """Where the URLs that web_fetch may open come from; a source that is not set is open."""

    user_input: Source | None = None
    client_tool_results: Filter | None = None
    server_tool_results: Filter | None = None

    @model_validator(mode="after")
    def _something_is_open(self) -> UrlSources:
        sources = (self.user_input, self.client_tool_results, self.server_tool_results)
        if all(source is not None and source.type == "none" for source in sources):
            raise ValueError("at least one source must be open")
        return self


class UserLocation(Params):
    """Roughly where the user is; `country` is ISO 3166-1 alpha-2, `timezone` an IANA name."""

    type: Literal["approximate"]
    city: Annotated[str, _Text] | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    region: Annotated[str, _Text] | None = None
    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+\-/]{1,64}$")] | None = None
