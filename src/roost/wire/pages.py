"""Lists: what is asked for and how a page looks (contract/http.md, Pagination)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from roost.wire.fields import Moment
from roost.wire.shape import encode

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
LIMIT_LONG_MAX = 1_000
CURSOR_CHARS_MAX = 1_000

Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX)]
LongLimit = Annotated[int, Field(ge=1, le=LIMIT_LONG_MAX)]
Cursor = Annotated[str, StringConstraints(max_length=CURSOR_CHARS_MAX)]
Order = Literal["asc", "desc"]


class Query(BaseModel):
    """The query of a call. Pairs that no field names are ignored, as old clients send `beta=true`."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class PageQuery(Query):
    limit: Limit = LIMIT_DEFAULT
    page: Cursor | None = None


class CreatedQuery(Query):
    """Bounds of a list in time."""

    created_gt: Moment | None = Field(None, alias="created_at[gt]")
    created_gte: Moment | None = Field(None, alias="created_at[gte]")
    created_lt: Moment | None = Field(None, alias="created_at[lt]")
    created_lte: Moment | None = Field(None, alias="created_at[lte]")

    @property
    def created(self) -> dict[str, str]:
        """The bounds that were given, by operator."""
        given = {
            "gt": self.created_gt,
            "gte": self.created_gte,
            "lt": self.created_lt,
            "lte": self.created_lte,
        }
        return {operator: moment for operator, moment in given.items() if moment is not None}


def page(items: Sequence[bytes], next_page: str | None) -> bytes:
    """A page of objects that are encoded already."""
    return b'{"data":[%b],"next_page":%b}' % (b",".join(items), encode(next_page))


def page_both_ways(items: Sequence[bytes], next_page: str | None, prev_page: str | None) -> bytes:
    return b'{"data":[%b],"next_page":%b,"prev_page":%b}' % (b",".join(items), encode(next_page), encode(prev_page))


def page_by_id(items: Sequence[bytes], ids: Sequence[str], *, has_more: bool) -> bytes:
    """The shape of `GET /v1/models`: the first and the last id are the cursors."""
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    tail = encode({"has_more": has_more, "first_id": first, "last_id": last})
    return b'{"data":[%b],%b' % (b",".join(items), tail[1:])
