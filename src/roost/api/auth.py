"""Who calls: a key of a workspace, a worker of a self-hosted environment, or the operator; and what each may call."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers

from roost.core.clock import Clock
from roost.operations.operator import key_digest
from roost.operations.resource import Endpoint
from roost.operations.table import BETA_HEADERS
from roost.store.protocols import Store
from roost.wire.errors import ApiError, invalid, not_found
from roost.wire.keys import DEFAULT_WORKSPACE

KEY_CACHE_S = 1.0
"""How long a key that was found is trusted without looking again: a revoked key works no longer than this."""
KEY_CACHE_MAX = 1_024
KEY_CHARS_MAX = 1_024
VERSIONS = ("2023-06-01", "2026-10-21")


Credential = Literal["api_key", "environment_key", "item_token"]

RIGHTS: Mapping[str, tuple[Credential, ...]] = {
    "environments.work.poll": ("environment_key",),
    "environments.work.ack": ("environment_key",),
    "environments.work.list": ("environment_key",),
    "environments.work.stats": ("api_key", "environment_key"),
    "environments.work.heartbeat": ("environment_key", "item_token"),
    "environments.work.stop": ("api_key", "environment_key", "item_token"),
    "sessions.retrieve": ("api_key", "environment_key", "item_token"),
    "sessions.events.list": ("api_key", "environment_key", "item_token"),
    "sessions.events.send": ("api_key", "environment_key", "item_token"),
    "sessions.events.stream": ("api_key", "environment_key", "item_token"),
}
"""Who may call what; every call that is not named takes an API key only (contract/work-queue.md, Credentials)."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a credential reaches: a workspace, one environment of it, or one work item with its session."""

    workspace_id: str
    environment_id: str | None = None
    work_id: str | None = None
    session_id: str | None = None

    @property
    def credential(self) -> Credential:
        if self.work_id is not None:
            return "item_token"
        return "api_key" if self.environment_id is None else "environment_key"


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until_s: float


class Authenticator:
    """Finds the caller of a request. Raises ApiError (401, 403, 404) for what a caller may not do."""

    def __init__(self, store: Store, clock: Clock, admin_key_hash: str, own_key: str = "") -> None:
        """`own_key`, where given, is accepted for the default workspace without being kept: the settings name it."""
        self._own_digest = key_digest(own_key) if own_key else ""
        self._store = store
        self._clock = clock
        self._admin_key_hash = admin_key_hash
        self._known: dict[str, _Known] = {}

    async def caller(self, headers: Headers) -> Caller:
        caller = await self._find(key_digest(_key(headers)))
        asked = headers.get("anthropic-workspace-id")
        if asked is not None and asked != caller.workspace_id:
            raise ApiError(403, "anthropic-workspace-id: the key belongs to another workspace")
        return caller

    async def check(self, caller: Caller, endpoint: Endpoint, ids: Mapping[str, str]) -> None:
        """Holds a caller to what its credential is for; what lies outside its reach is not there."""
        if caller.credential not in RIGHTS.get(endpoint.name, ("api_key",)):
            raise ApiError(403, f"{endpoint.name} cannot be called with this kind of key.")
        if caller.environment_id is None:
            return
        if ids.get("environment_id", caller.environment_id) != caller.environment_id:
            raise not_found("environment", ids["environment_id"])
        if caller.work_id is not None and ids.get("work_id", caller.work_id) != caller.work_id:
            raise not_found("work item", ids["work_id"])
        if "session_id" in ids and not await self._serves(caller, ids["session_id"]):
            raise not_found("session", ids["session_id"])

    async def _serves(self, worker: Caller, session_id: str) -> bool:
        if worker.session_id is not None:
            return worker.session_id == session_id
        row = await self._store.sessions.get(worker.workspace_id, session_id)
        return row is not None and row.environment_id == worker.environment_id

    def operator(self, headers: Headers) -> None:
        if not hmac.compare_digest(key_digest(_key(headers)), self._admin_key_hash):
            raise ApiError(401, "This call needs the operator's key.")

    async def _find(self, digest: str) -> Caller:
        """Only the keys of workspaces are remembered: the end of a worker's credential counts from the next call on."""
        if hmac.compare_digest(digest, self._own_digest):
            return Caller(DEFAULT_WORKSPACE)
        now_s = self._clock.monotonic_s()
        known = self._known.get(digest)
        if known is not None and now_s < known.until_s:
            return known.caller
        row = await self._store.keys.find(digest)
        if row is None:
            self._known.pop(digest, None)
            return await self._holder(digest)
        caller = Caller(row.workspace_id, row.environment_id)
        if row.environment_id is not None:
            return caller
        if len(self._known) >= KEY_CACHE_MAX:
            self._known.clear()
        self._known[digest] = _Known(caller, now_s + KEY_CACHE_S)
        return caller

    async def _holder(self, digest: str) -> Caller:
        """The worker that was handed an item with this token."""
        item = await self._store.work.by_token(digest)
        if item is None:
            raise ApiError(401, "The API key is not valid.")
        return Caller(item.workspace_id, item.environment_id, item.id, item.session_id)


def _key(headers: Headers) -> str:
    """The credential, in either of the two headers that SDKs use (contract/http.md, Headers the client sends)."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "").strip()
    if not key:
        raise ApiError(401, "An API key is needed, as `Authorization: Bearer <key>` or `x-api-key: <key>`.")
    if len(key) > KEY_CHARS_MAX:
        raise ApiError(401, "The API key is not valid.")
    return key


def check_version(headers: Headers) -> None:
    """A version that is not sent counts as the newest."""
    version = headers.get("anthropic-version")
    if version is not None and version not in VERSIONS:
        raise invalid(f"anthropic-version: must be one of {', '.join(VERSIONS)}")


def check_gate(gate: str, headers: Headers) -> None:
    """A call in beta is not there for who does not ask for the beta (behaviour/01 section 1.1)."""
    sent = (value.strip() for header in headers.getlist("anthropic-beta") for value in header.split(","))
    if gate and not any(value.startswith(f"{gate}-20") for value in sent):
        raise ApiError(404, f"Not found. This call needs the header `anthropic-beta: {BETA_HEADERS[gate]}`.")
