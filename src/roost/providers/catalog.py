"""Which provider answers for which model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from roost.wire.messages import ModelCard, ModelError, ModelLimits, ModelProvider, ModelRequest


class Catalog:
    """Every configured provider as one.

    `patterns` maps model names, with `*` for any characters, to names of providers; the first that fits counts. Raises
    ValueError for a pattern whose provider is not there.
    """

    name = "catalog"

    def __init__(self, providers: Sequence[ModelProvider], patterns: Mapping[str, str]) -> None:
        by_name = {provider.name: provider for provider in providers}
        missing = set(patterns.values()) - by_name.keys()
        if missing:
            raise ValueError(f"there is no provider {', '.join(sorted(missing))}")
        self._providers = list(providers)
        self._routes = [(pattern, by_name[name]) for pattern, name in patterns.items()]

    def provider(self, model: str) -> ModelProvider:
        """Raises ModelError for a model nobody answers for."""
        for pattern, provider in self._routes:
            if fnmatchcase(model, pattern):
                return provider
        known = ", ".join(f"`{pattern}`" for pattern, _ in self._routes) or "none"
        raise ModelError("request_failed", f"No provider is configured for the model `{model}`. Configured: {known}.")

    def stream(self, request: ModelRequest) -> AsyncGenerator[Mapping[str, Any], None]:
        """See `ModelProvider.stream`; for a model nobody answers for the call itself raises."""
        return self.provider(request.model).stream(request)

    async def limits(self, model: str) -> ModelLimits:
        return await self.provider(model).limits(model)

    async def models(self) -> list[ModelCard]:
        """The cards of all providers, newest first.

        A provider that cannot be asked now, or has no key, is left out; raises its ModelError where no card is left.
        """
        cards: list[ModelCard] = []
        failures: list[ModelError] = []
        for provider in self._providers:
            try:
                cards += await provider.models()
            except ModelError as failure:
                failures.append(failure)
        if failures and not cards:
            raise failures[0]
        return sorted(cards, key=lambda card: card.created_at, reverse=True)
