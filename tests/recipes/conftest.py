"""One server for all recipes: each test plays its own part of the model in sessions of its own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.rig.style import plainly, thinking_and_in_parallel
from tests.rig.world import World, world


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server's event loop is that of the tests."""
    for item in items:
        if "tests/recipes" in item.nodeid and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("recipes"), retry_first_s=0.01) as opened:
        yield opened


@pytest.fixture(params=[plainly, thinking_and_in_parallel], ids=["plain", "thinking"])
def here(request: pytest.FixtureRequest, shared: World) -> Iterator[World]:
    """The shared server with a fresh part for the model, in both styles."""
    shared.model.requests.clear()
    shared.plays()
    shared.part.style = request.param
    yield shared
    assert [str(refusal) for refusal in shared.model.refusals] == [], "the model refused a request"
