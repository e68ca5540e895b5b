"""What a session has at hand (contract/sessions.md, Resources)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints, model_validator

from roost.wire.fields import Id
from roost.wire.shape import Params, Wire

RESOURCES_MAX = 500
MOUNT_PATH_CHARS_MAX = 1_024
TOKEN_CHARS_MAX = 4_096
UPLOADS = "/mnt/session/uploads"
"""Every mounted file lies below."""


class FileResourceParams(Params):
    """Mounts a copy of a file, read-only. `mount_path` is taken as below `UPLOADS`; default: the file's id."""

    type: Literal["file"]
    file_id: Id
    mount_path: Annotated[str, StringConstraints(min_length=1, max_length=MOUNT_PATH_CHARS_MAX)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _only_files(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in ("github_repository", "memory_store"):
            raise ValueError(f"this server does not support {kind!r} resources yet")
        return value


class ResourceUpdate(Params):
    """A new token for a GitHub repository; no other kind of resource has one."""

    authorization_token: Annotated[str, StringConstraints(min_length=1, max_length=TOKEN_CHARS_MAX)]


class FileResource(Wire):
    """`file_id` is the copy's id, not that of the file it was made from."""

    id: str
    type: Literal["file"] = "file"
    file_id: str
    mount_path: str
    created_at: str
    updated_at: str
