"""What a provider says of its models, asked for once and shared by every session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from roost.core.clock import Clock
from roost.wire.messages import ModelCard, ModelError, ModelLimits

AGAIN_AFTER_FAILURE_S = 60.0
UNLISTED_MAX = 1_000
UNDATED = "1970-01-01T00:00:00Z"

MID_CONVERSATION_SYSTEM_SINCE = "2026-05"
"""Models released before do not take a `system` message inside a conversation; ModelInfo does not say so itself."""

Get = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Fetches a path of the provider. Raises ModelError."""


class Cards:
    """The models of one provider; the list is asked for again after `ttl_s` seconds, sooner after a failure."""

    def __init__(self, get: Get, clock: Clock, ttl_s: float) -> None:
        self._get = get
        self._clock = clock
        self._ttl_s = ttl_s
        self._listed: list[ModelCard] = []
        self._unlisted: dict[str, ModelCard] = {}
        """Models that have a card of their own but no place in the list: aliases, and names nobody knows."""
        self._failure: ModelError | None = None
        self._ask_at_s: float | None = None
        self._asking = asyncio.Lock()

    async def all(self) -> list[ModelCard]:
        """Every model in the provider's order. Raises ModelError where the list was never had."""
        await self._refresh()
        if self._failure is not None and not self._listed:
            raise replace(self._failure)
        return list(self._listed)

    async def card(self, model: str) -> ModelCard:
        """The card of a model; one with careful defaults where the provider cannot say."""
        await self._refresh()
        for card in self._listed:
            if card.id == model:
                return card
        if self._failure is None and model not in self._unlisted:
            await self._ask_for(model)
        return self._unlisted.get(model) or ModelCard(model, model)

    async def _refresh(self) -> None:
        async with self._asking:
            if self._ask_at_s is not None and self._clock.monotonic_s() < self._ask_at_s:
                return
            try:
                page = await self._get("/v1/models?limit=1000")
            except ModelError as failure:
                self._failure = failure
            else:
                self._failure = None
                self._listed = [model_card(info) for info in page.get("data") or ()]
                self._unlisted.clear()
            wait_s = AGAIN_AFTER_FAILURE_S if self._failure else self._ttl_s
            self._ask_at_s = self._clock.monotonic_s() + wait_s

    async def _ask_for(self, model: str) -> None:
        try:
            info = await self._get(f"/v1/models/{quote(model, safe='')}")
        except ModelError as failure:
            if failure.retryable:
                return
            info = {"id": model}
        if len(self._unlisted) >= UNLISTED_MAX:
            self._unlisted.clear()
        self._unlisted[model] = model_card(info) if "capabilities" in info else ModelCard(model, model)


def model_card(info: Mapping[str, Any]) -> ModelCard:
    """The card of a ModelInfo (contract/models-and-messages.md); a foreign server's may lack all but the id."""
    capabilities = info.get("capabilities") or {}
    created_at = info.get("created_at") or UNDATED
    limits = ModelLimits(
        max_output_tokens=info.get("max_tokens") or ModelLimits().max_output_tokens,
        context_window=info.get("max_input_tokens"),
        mid_conversation_system=created_at == UNDATED or created_at >= MID_CONVERSATION_SYSTEM_SINCE,
        image_input=_supported(capabilities, "image_input"),
        pdf_input=_supported(capabilities, "pdf_input"),
    )
    return ModelCard(info["id"], info.get("display_name") or info["id"], created_at, limits, info)


def _supported(capabilities: Mapping[str, Any], name: str) -> bool:
    return bool((capabilities.get(name) or {"supported": True}).get("supported"))
