"""The models that the providers offer (contract/models-and-messages.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from roost.operations.resource import Context, Reply
from roost.wire.errors import ApiError, invalid, not_found
from roost.wire.messages import ModelCard, ModelError
from roost.wire.models import model_info
from roost.wire.pages import LIMIT_DEFAULT, LongLimit, Query, page_by_id
from roost.wire.shape import encode


class ModelsQuery(Query):
    limit: LongLimit = LIMIT_DEFAULT
    after_id: str | None = None
    before_id: str | None = None
    lifecycle: list[Literal["active", "deprecated", "retired"]] = Field(["active", "deprecated"], alias="lifecycle[]")


async def list_(ctx: Context, *, query: ModelsQuery) -> Reply:
    if query.after_id and query.before_id:
        raise invalid("after_id: excludes before_id")
    models = [info for info in await _models(ctx) if info["lifecycle"] in query.lifecycle]
    ids = [info["id"] for info in models]
    if query.before_id:
        end = _place("before_id", ids, query.before_id)
        start = max(0, end - query.limit)
        has_more = start > 0
    else:
        start = _place("after_id", ids, query.after_id) + 1 if query.after_id else 0
        end = start + query.limit
        has_more = end < len(ids)
    return Reply(page_by_id([encode(info) for info in models[start:end]], ids[start:end], has_more=has_more))


async def retrieve(ctx: Context, *, model_id: str) -> Reply:
    for info in await _models(ctx):
        if info["id"] == model_id:
            return Reply(encode(info))
    raise not_found("model", model_id)


async def _models(ctx: Context) -> Sequence[Mapping[str, Any]]:
    try:
        cards: list[ModelCard] = await ctx.models.models()
    except ModelError as error:
        raise ApiError(503, f"The list of models cannot be had now: {error}") from error
    return [model_info(card) for card in cards]


def _place(field: str, ids: Sequence[str], id: str) -> int:
    if id not in ids:
        raise invalid(f"{field}: names no model of this list")
    return ids.index(id)
