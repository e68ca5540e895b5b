"""Calls and their answers: what is executed, what is answered without being executed, and in which words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson

from roost.harness.fold import Call
from roost.harness.ports import Hands
from roost.sandbox.interface import (
    TOOL_NAMES,
    Networking,
    SandboxError,
    SandboxLost,
    SandboxSpec,
    SandboxUnavailable,
    ToolResult,
    Upload,
)
from roost.store.protocols import Claim, EventDraft, SessionRow, Store
from roost.store.statements import draft
from roost.wire.environments import mcp_hosts
from roost.wire.events.agent import AgentToolResult
from roost.wire.events.user import UserCustomToolResult, UserToolResult

READ_ONLY = ("read", "glob", "grep")
"""Tools that may run a second time without harm when the outcome of the first run is unknown."""

INTERRUPTED = ToolResult.text("Tool execution was interrupted before completion. Please retry.", is_error=True)
LOST = ToolResult.text(
    "The sandbox was lost during this call and its outcome is unknown: it may have run fully, partly or not at all. "
    "A new sandbox takes its place. Files in /workspace and /mnt/session are kept; processes and shell state are gone. "
    "Look at what is there before you run it again.",
    is_error=True,
)


def denial(call: Call) -> ToolResult:
    """The answer to a call that must not run."""
    if call.decision == "deny":
        text = f"The user denied this call of {call.name}. It was not run."
        return ToolResult.text(f"{text} {call.deny_message}" if call.deny_message else text, is_error=True)
    return ToolResult.text(f"There is no tool named {call.name} enabled in this session.", is_error=True)


def answer(call: Call, result: ToolResult) -> EventDraft:
    """The event that answers a call; at most one is ever stored.

    It has the type that the client's or the worker's own answer would have: the store takes one of a type only.
    """
    content = [dict(block) for block in result.content]
    if call.custom:
        event = UserCustomToolResult.model_validate(
            {"custom_tool_use_id": call.event_id, "content": content, "is_error": result.is_error}
        )
        return draft(event, answers=call.event_id)
    if call.remote:
        remote = UserToolResult.model_validate(
            {"tool_use_id": call.event_id, "content": content, "is_error": result.is_error}
        )
        return draft(remote, answers=call.event_id)
    built_in = AgentToolResult(tool_use_id=call.event_id, content=content, is_error=result.is_error)
    return draft(built_in, answers=call.event_id)


def networking(config: Mapping[str, Any], session: Mapping[str, Any]) -> Networking:
    """The rules of an environment's config, with the hosts of the session's MCP servers where it lets those be reached.

    A config without rules, or none at all, lets nothing out.
    """
    rules = config.get("networking") or {"type": "limited"}
    mcp = mcp_hosts(session["agent"]["mcp_servers"]) if rules.get("allow_mcp_servers") else ()
    hosts = (*rules.get("allowed_hosts", ()), *mcp)
    return Networking(rules["type"], hosts, rules.get("allow_package_managers", False))


class CallRunner:
    """Executes the calls of one claimed session, each at most once."""

    def __init__(self, hands: Hands, store: Store, claim: Claim, row: SessionRow) -> None:
        self._hands = hands
        self._store = store
        self._claim = claim
        self._row = row
        self._inherited: set[str] = set()

    def inherit(self, calls: Iterable[Call]) -> None:
        """Calls that an earlier owner may have started: the ledger is asked before they run."""
        self._inherited = {call.event_id for call in calls if call.runnable}

    def follow(self, row: SessionRow) -> None:
        """The session as it is now, which decides what its sandbox must hold."""
        self._row = row

    async def run(self, call: Call) -> ToolResult:
        """The call's result. Raises StaleEpoch when a newer owner has spoken to the sandbox."""
        if call.name not in TOOL_NAMES:
            return ToolResult.text(f"There is no tool named {call.name} on this server.", is_error=True)
        try:
            known = await self._known(call)
            return known if isinstance(known, ToolResult) else await self._execute(call)
        except SandboxLost:
            return await self._again(call) if call.name in READ_ONLY else LOST
        except SandboxUnavailable as error:
            return ToolResult.text(f"No sandbox could be started: {error}", is_error=True)

    async def _again(self, call: Call) -> ToolResult:
        try:
            return await self._execute(call)
        except SandboxLost:
            return LOST

    async def _known(self, call: Call) -> Literal["unknown", "running"] | ToolResult:
        if call.event_id not in self._inherited:
            return "unknown"
        return await self._hands.lookup(self._row.id, call.event_id, epoch=self._claim.epoch)

    async def _execute(self, call: Call) -> ToolResult:
        return await self._hands.execute(
            await self._spec(), call_id=call.event_id, epoch=self._claim.epoch, name=call.name, input=call.input
        )

    async def cancel(self, calls: Iterable[Call]) -> None:
        """Kills the process trees of calls; a sandbox that is gone has none."""
        cancels = (self._hands.cancel(self._row.id, call.event_id, epoch=self._claim.epoch) for call in calls)
        for outcome in await asyncio.gather(*cancels, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, SandboxError):
                raise outcome

    async def _spec(self) -> SandboxSpec:
        """What the sandbox must hold now: the environment's current rules and the session's files."""
        environment = await self._store.objects.get(self._row.workspace_id, "environment", self._row.environment_id)
        config = orjson.loads(environment.body)["config"] if environment else {}
        body = orjson.loads(self._row.body)
        uploads = [
            Upload(entry["mount_path"], path)
            for entry in body.get("resources") or ()
            if entry["type"] == "file" and (path := self._store.blobs.path(entry["sha256"]))
        ]
        return SandboxSpec(self._row.id, networking(config, body), tuple(uploads))
