"""Who calls: a key of a workspace, or the operator."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers

from roost.core.clock import Clock
from roost.operations.operator import key_digest
from roost.operations.table import BETA_HEADERS
from roost.store.protocols import Keys
from roost.wire.errors import ApiError, invalid
from roost.wire.keys import DEFAULT_WORKSPACE

KEY_CACHE_S = 1.0
"""How long a key that was found is trusted without looking again: a revoked key works no longer than this."""
KEY_CACHE_MAX = 1_024
KEY_CHARS_MAX = 1_024
VERSIONS = ("2023-06-01", "2026-10-21")


@dataclass(frozen=True, slots=True)
class _Known:
    workspace_id: str
    until_s: float


class Authenticator:
    """Finds the workspace of a request's key. Raises ApiError (401, 403) for every other request."""

    def __init__(self, keys: Keys, clock: Clock, admin_key_hash: str, own_key: str = "") -> None:
        """`own_key`, where given, is accepted for the default workspace without being kept: the settings name it."""
        self._own_digest = key_digest(own_key) if own_key else ""
        self._keys = keys
        self._clock = clock
        self._admin_key_hash = admin_key_hash
        self._known: dict[str, _Known] = {}

    async def workspace(self, headers: Headers) -> str:
        workspace_id = await self._find(key_digest(_key(headers)))
        asked = headers.get("anthropic-workspace-id")
        if asked is not None and asked != workspace_id:
            raise ApiError(403, "anthropic-workspace-id: the key belongs to another workspace")
        return workspace_id

    def operator(self, headers: Headers) -> None:
        if not hmac.compare_digest(key_digest(_key(headers)), self._admin_key_hash):
            raise ApiError(401, "This call needs the operator's key.")

    async def _find(self, digest: str) -> str:
        if hmac.compare_digest(digest, self._own_digest):
            return DEFAULT_WORKSPACE
        now_s = self._clock.monotonic_s()
        known = self._known.get(digest)
        if known is not None and now_s < known.until_s:
            return known.workspace_id
        row = await self._keys.find(digest)
        if row is None:
            self._known.pop(digest, None)
            raise ApiError(401, "The API key is not valid.")
        if len(self._known) >= KEY_CACHE_MAX:
            self._known.clear()
        self._known[digest] = _Known(row.workspace_id, now_s + KEY_CACHE_S)
        return row.workspace_id


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
