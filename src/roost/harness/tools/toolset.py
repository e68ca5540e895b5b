"""The tools an agent has, as the model sees them, and who may run what (contract/tools.md, behaviour/04)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from roost.wire.events.agent import Evaluation, Permission
from roost.wire.messages import Block

_TIMEOUT_DEFAULT_S = 120


def _tool(name: str, description: str, required: Sequence[str], **properties: Mapping[str, Any]) -> Block:
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


def _string(description: str) -> Mapping[str, Any]:
    return {"type": "string", "description": description}


def _built_in(home: str) -> Mapping[str, Block]:
    return {
        "bash": _tool(
            "bash",
            "Run a command in the session's one persistent shell. Directory, variables and background jobs are kept "
            "between calls. Standard output and standard error come back together; a non-zero exit is an error result. "
            "Of long output the end is kept.",
            [],
            command=_string("The command. Needed unless `restart` is set."),
            restart={"type": "boolean", "description": "Start a fresh shell and end everything the old one started."},
            timeout_ms={
                "type": "integer",
                "description": f"Time limit in milliseconds; {_TIMEOUT_DEFAULT_S * 1000} when left out.",
            },
        ),
        "read": _tool(
            "read",
            "Read a file: text as it is, images and PDF as something you can look at. Text is limited to 256 KiB; read "
            "a larger file in parts with `view_range`.",
            ["file_path"],
            file_path=_string(f"Path of the file; relative paths start at {home}."),
            view_range={
                "type": "array",
                "items": {"type": "integer"},
                "minItems": 2,
                "maxItems": 2,
                "description": "First and last line, counted from 1; a last line of 0 or less means the end of the "
                "file.",
            },
        ),
        "write": _tool(
            "write",
            "Write a whole file, replacing what is there. Missing directories are made.",
            ["file_path", "content"],
            file_path=_string("Path of the file."),
            content=_string("All of the file's text."),
        ),
        "edit": _tool(
            "edit",
            "Replace text in a file. `old_string` must occur exactly once, unless `replace_all` is set.",
            ["file_path", "old_string", "new_string"],
            file_path=_string("Path of the file."),
            old_string=_string("The text to replace, to the letter."),
            new_string=_string("The text to put in its place."),
            replace_all={"type": "boolean", "description": "Replace every occurrence."},
        ),
        "glob": _tool(
            "glob",
            "Find files by name, newest first, at most 200. `**` crosses directories.",
            ["pattern"],
            pattern=_string("For example `src/**/*.py`."),
            path=_string(f"Directory to search; {home} when left out."),
        ),
        "grep": _tool(
            "grep",
            "Search file contents with a regular expression. Answers lines as path:line:text.",
            ["pattern"],
            pattern=_string("The regular expression."),
            path=_string(f"File or directory to search; {home} when left out."),
        ),
    }


BUILT_IN = _built_in("/workspace")
"""Tools that run in the sandbox. Byte-stable: changing a word here changes the prompt prefix of every session."""
REMOTE = _built_in("the working directory")
"""The same tools where a worker runs them."""


@dataclass(frozen=True)
class Verdict:
    """How a call is treated, and by which policy; no policy applied when the tool is not enabled."""

    permission: Permission
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Toolset:
    """The tools of one agent snapshot."""

    tools: Sequence[Mapping[str, Any]]
    built_in: Mapping[str, Block] = field(default_factory=lambda: BUILT_IN)

    @cached_property
    def policies(self) -> Mapping[str, Literal["always_allow", "always_ask"]]:
        """Enabled built-in tools with their policy."""
        found: dict[str, Literal["always_allow", "always_ask"]] = {}
        for toolset in self.tools:
            if toolset["type"] == "agent_toolset_20260401":
                named = {config["name"]: config for config in toolset["configs"]}
                for name in self.built_in:
                    config = named.get(name, toolset["default_config"])
                    if config["enabled"]:
                        found[name] = config["permission_policy"]["type"]
        return found

    @cached_property
    def custom(self) -> Mapping[str, Mapping[str, Any]]:
        return {tool["name"]: tool for tool in self.tools if tool["type"] == "custom"}

    @cached_property
    def definitions(self) -> tuple[Block, ...]:
        """What is sent to the model."""
        built_in = [definition for name, definition in self.built_in.items() if name in self.policies]
        custom = [{key: tool[key] for key in ("name", "description", "input_schema")} for tool in self.custom.values()]
        return (*built_in, *custom)

    def judge(self, name: str) -> Verdict:
        """The permission of a call of a built-in tool."""
        policy = self.policies.get(name)
        if policy is None:
            return Verdict("deny")
        return Verdict("allow" if policy == "always_allow" else "ask", Evaluation(type=policy))
