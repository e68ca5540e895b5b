"""Which provider answers for which model."""

from __future__ import annotations

import pytest

from roost.providers.anthropic import AnthropicProvider
from roost.providers.catalog import Catalog
from roost.providers.scripted import ScriptedProvider
from roost.wire.messages import ModelError, ModelProvider
from tests.messages_server import MessagesServer, reply
from tests.unit.providers.asking import ask, request, user

PATTERNS = {"scripted": "scripted", "scripted-*": "scripted", "claude-*": "anthropic"}


def catalog(claude: AnthropicProvider) -> Catalog:
    return Catalog([claude, ScriptedProvider()], PATTERNS)


def is_provider(catalog: Catalog) -> ModelProvider:
    return catalog


async def test_each_model_is_answered_by_its_provider() -> None:
    async with MessagesServer([reply("I am Claude.")]) as server:
        claude = AnthropicProvider("key", server.url)
        models = is_provider(catalog(claude))
        said = [(await ask(models, request(user("Hi"), model=model))).text for model in ("claude-opus-5", "scripted-a")]
        limits = await models.limits("claude-opus-5")
        cards = await models.models()
        await claude.close()
    assert said[0] == "I am Claude."
    assert said[1].startswith("I am the scripted model")
    assert limits.max_output_tokens == 128_000
    assert [card.id for card in cards] == ["claude-opus-5", "claude-haiku-4-5", "scripted"]


async def test_an_unknown_model_is_refused_with_the_names_that_are_known() -> None:
    models = catalog(AnthropicProvider(None, "http://127.0.0.1:1"))
    with pytest.raises(ModelError, match=r"`gpt-5`.*`scripted`, `scripted-\*`, `claude-\*`") as failure:
        await ask(models, request(user("Hi"), model="gpt-5"))
    assert failure.value.kind == "request_failed"
    with pytest.raises(ModelError, match="`gpt-5`"):
        await models.limits("gpt-5")


async def test_a_provider_without_a_key_is_left_out_of_the_list() -> None:
    keyless = AnthropicProvider(None, "http://127.0.0.1:1")
    assert [card.id for card in await catalog(keyless).models()] == ["scripted"]
    with pytest.raises(ModelError, match="ANTHROPIC_API_KEY"):
        await Catalog([keyless], {"*": "anthropic"}).models()


def test_a_pattern_needs_its_provider() -> None:
    with pytest.raises(ValueError, match="no provider openai"):
        Catalog([ScriptedProvider()], {"gpt-*": "openai"})
