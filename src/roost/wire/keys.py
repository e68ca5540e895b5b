"""What an operator sends and gets under `/roost/v1`: API keys, and who holds which session."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from roost.wire.fields import Id, Name
from roost.wire.shape import Params, Wire

DEFAULT_WORKSPACE = "wrkspc_default"
"""The workspace of keys that name no other."""

WorkspaceId = Annotated[str, StringConstraints(pattern=r"^wrkspc_[A-Za-z0-9_-]{1,64}$")]


class KeyCreate(Params):
    name: Name
    workspace_id: WorkspaceId = DEFAULT_WORKSPACE
    environment_id: Id | None = None
    """Makes it the key of this self-hosted environment's workers, good for nothing else."""


class Key(Wire):
    id: str
    type: Literal["api_key"] = "api_key"
    name: str
    workspace_id: str
    environment_id: str | None = None
    created_at: str
    revoked_at: str | None = None


class NewKey(Key):
    """`key` is shown this once: only its digest is kept."""

    key: str


class Owner(Wire):
    """A running turn: which process holds the session, and until when if it falls silent."""

    type: Literal["owner"] = "owner"
    session_id: str
    owner: str
    lease_until: str
