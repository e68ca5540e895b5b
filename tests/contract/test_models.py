"""Models (contract/models-and-messages.md)."""

from __future__ import annotations

from typing import Any

import pytest

from roost.wire.messages import ModelError
from tests.contract.conftest import Served, body_of
from tests.contract.models import FOREIGN, KNOWN, OLD
from tests.contract.shape import whole


async def test_models_are_listed_whole_without_the_retired(served: Served) -> None:
    page = await served.client.beta.models.list()
    assert [model.id for model in whole(page.data)] == [KNOWN, FOREIGN]
    assert (page.has_more, page.first_id, page.last_id) == (False, KNOWN, FOREIGN)


async def test_what_a_provider_says_of_its_model_goes_through(served: Served) -> None:
    known = whole(await served.client.beta.models.retrieve(KNOWN))
    assert known.capabilities is not None
    assert (known.capabilities.effort.supported, known.capabilities.effort.low.supported) == (True, False)
    foreign = whole(await served.client.beta.models.retrieve(FOREIGN))
    assert (foreign.display_name, foreign.lifecycle, foreign.line) == ("Scripted", "active", None)


async def test_models_are_paged_by_id_in_both_directions(served: Served) -> None:
    models = served.client.beta.models
    every: Any = {"lifecycle": ["active", "retired"]}
    page = await models.list(limit=1, **every)
    assert page.has_more
    assert [model.id async for model in page] == [KNOWN, OLD, FOREIGN]
    before = await models.list(limit=1, before_id=FOREIGN, **every)
    assert ([model.id for model in before.data], before.has_more) == ([OLD], True)


@pytest.mark.parametrize("query", ["after_id=unknown", "before_id=unknown", "limit=0", "limit=1001", "lifecycle[]=new"])
async def test_a_bad_query_names_the_field(served: Served, query: str) -> None:
    response = await served.http.get(f"/v1/models?{query}")
    assert response.status_code == 400
    assert body_of(response)["error"]["message"].startswith(query.partition("=")[0])


async def test_an_unknown_model_is_not_found(served: Served) -> None:
    response = await served.http.get("/v1/models/unknown")
    assert (response.status_code, body_of(response)["error"]["type"]) == (404, "not_found_error")


async def test_a_provider_that_does_not_answer_is_named(served: Served) -> None:
    served.models.failure = ModelError("unavailable", "no route to the provider")
    response = await served.http.get("/v1/models")
    assert (response.status_code, body_of(response)["error"]["type"]) == (503, "api_error")
    assert "no route to the provider" in body_of(response)["error"]["message"]
    created = await served.http.post("/v1/agents", json={"name": "a", "model": KNOWN})
    assert body_of(created)["model"]["effort"] is None
