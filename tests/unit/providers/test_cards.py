"""What is remembered of a provider's models, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from roost.providers.cards import AGAIN_AFTER_FAILURE_S, UNLISTED_MAX, Cards
from roost.wire.messages import ModelError
from tests.messages_server import ADAPTIVE, MODELS


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.at_s


class Api:
    """Answers the two paths for models, or fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: ModelError | None = None

    async def get(self, path: str) -> Mapping[str, Any]:
        self.asked.append(path)
        if self.failure:
            raise self.failure
        if path.startswith("/v1/models?"):
            return {"data": list(MODELS.values())}
        if path == "/v1/models/claude-opus":
            return MODELS[ADAPTIVE]
        raise ModelError("request_failed", "not found", status=404)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def cards(api: Api, clock: HandClock) -> Cards:
    return Cards(api.get, clock, ttl_s=3_600)


async def test_the_list_is_asked_for_again_when_it_is_old(cards: Cards, api: Api, clock: HandClock) -> None:
    for at_s in (0, 3_599, 3_601):
        clock.at_s = at_s
        await cards.all()
    assert len(api.asked) == 2


async def test_an_alias_has_the_card_of_its_model(cards: Cards, api: Api) -> None:
    for _ in range(3):
        assert (await cards.card("claude-opus")).limits.max_output_tokens == 128_000
    assert len(api.asked) == 2


async def test_an_old_list_outlives_a_failure_and_is_soon_asked_for_again(
    cards: Cards, api: Api, clock: HandClock
) -> None:
    await cards.all()
    api.failure, clock.at_s = ModelError("unavailable", "down"), 4_000
    assert len(await cards.all()) == 2
    assert len(await cards.all()) == 2
    assert len(api.asked) == 2
    api.failure, clock.at_s = None, 4_000 + AGAIN_AFTER_FAILURE_S
    await cards.all()
    assert len(api.asked) == 3


async def test_a_failure_is_raised_only_where_there_is_no_list(cards: Cards, api: Api) -> None:
    api.failure = ModelError("unavailable", "down")
    with pytest.raises(ModelError, match="down"):
        await cards.all()
    assert (await cards.card(ADAPTIVE)).limits.max_output_tokens == 32_000
    assert len(api.asked) == 1


async def test_names_that_nobody_knows_do_not_pile_up(cards: Cards) -> None:
    for number in range(UNLISTED_MAX + 10):
        await cards.card(f"made-up-{number}")
    assert len(cards._unlisted) == 10
