"""Cursors and numbers that no client got from this server: a refusal or an answer, and never a fault of ours."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.core.clock import timestamp
from tests.contract.conftest import Served, body_of, serving
from tests.contract.given import a_session

HUGE = 10**30
MOMENT = "2026-01-02T00:00:00.000000Z"
LISTS = {
    "/v1/agents": "agent:",
    "/v1/agents/{agent}/versions": "agent_version:{agent}",
    "/v1/environments": "environment:",
    "/v1/files": "file:",
    "/v1/sessions": "sessions",
    "/v1/sessions/{session}/events": "events:{session}",
    "/v1/sessions/{session}/resources": "resources:{session}",
    "/v1/sessions/{session}/threads": "threads:{session}",
    "/v1/sessions/{session}/threads/{thread}/events": "events:{session}",
}
"""The path of every list and the name that its cursors bear."""
NUMBERED = [path for path in LISTS if path.endswith(("/versions", "/events", "/resources"))]


class Lists:
    """A served application with something in every list, for tests that are no coroutines."""

    def __init__(self, runner: asyncio.Runner, served: Served, ids: dict[str, str]) -> None:
        self._runner = runner
        self._served = served
        self._ids = ids

    def get(self, path: str, key: object, row_id: object, *, descending: bool, backward: bool = False) -> Any:
        """The list's answer to a cursor with these parts."""
        # Numbers beyond 64 bits are written as JSON allows them, which orjson itself would refuse.
        number = isinstance(key, int) and not isinstance(key, bool)
        parts = [LISTS[path].format(**self._ids), descending, "KEY" if number else key, row_id, backward]
        text = orjson.dumps(parts).replace(b'"KEY"', str(key).encode()) if number else orjson.dumps(parts)
        page = "page_" + base64.urlsafe_b64encode(text).decode().rstrip("=")
        query = {"page": page, "order": "desc" if descending else "asc"}
        return self._runner.run(self._served.http.get(path.format(**self._ids), params=query))

    def refused(self, path: str, key: object, row_id: object) -> bool:
        """Whether it is a 400 that names the cursor, in the one order or the other that the list has."""
        answers = [self.get(path, key, row_id, descending=descending) for descending in (True, False)]
        said = [body_of(answer)["error"]["message"] for answer in answers if answer.status_code == 400]
        return len(said) == 2 and any(message == "page: not a cursor of this list" for message in said)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        served = runner.run(stack.enter_async_context(serving(tmp_path_factory.mktemp("lists"))))
        yield Lists(runner, served, runner.run(_filled(served)))
        runner.run(stack.aclose())


async def _filled(served: Served) -> dict[str, str]:
    file = await served.client.beta.files.upload(file=("a.txt", b"a"))
    session = await a_session(served.client, resources=[{"type": "file", "file_id": file.id}])
    thread_id = (await served.row(session.id)).thread_id
    return {"agent": session.agent.id, "session": session.id, "thread": thread_id}


keys = (
    st.integers(-HUGE, HUGE)
    | st.integers(-5, 5)
    | st.text(max_size=30)
    | st.datetimes().map(timestamp)
    | st.none()
    | st.booleans()
)
row_ids = st.text(max_size=40) | st.integers(0, HUGE).map(str)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(LISTS)), keys, row_ids, st.booleans(), st.booleans())
def test_no_list_fails_over_a_forged_cursor(
    lists: Lists, path: str, key: object, row_id: str, descending: bool, backward: bool
) -> None:
    answer = lists.get(path, key, row_id, descending=descending, backward=backward)
    assert answer.status_code in (200, 400)


@pytest.mark.parametrize("path", LISTS)
def test_a_key_of_the_wrong_kind_or_out_of_range_is_refused(lists: Lists, path: str) -> None:
    wrong: list[object] = [MOMENT, "zzz", -1, -5, 1 << 63, HUGE] if path in NUMBERED else [1, 0, -5, HUGE, "zzz", ""]
    for key in (*wrong, None, True):
        assert lists.refused(path, key, "0"), key


@pytest.mark.parametrize("number", ["9" * 30, "9" * 19, "-1", "x", ""])
def test_an_input_number_out_of_range_is_refused(lists: Lists, number: str) -> None:
    assert lists.refused("/v1/sessions/{session}/events", 1, number)


@pytest.mark.parametrize("version", [HUGE, 1 << 63, 0, -1])
async def test_a_version_that_cannot_be_is_refused_by_name(served: Served, version: int) -> None:
    session = await a_session(served.client)
    agent = session.agent.id
    reference = b'{"type":"agent","id":"%b","version":%d}' % (agent.encode(), version)
    body = b'{"agent":%b,"environment_id":"%b"}' % (reference, session.environment_id.encode())
    answers = {
        "agent.version: ": await served.http.post("/v1/sessions", content=body),
        "version: ": await served.http.get(f"/v1/agents/{agent}?version={version}"),
        "agent_version: ": await served.http.get(f"/v1/sessions?agent_id={agent}&agent_version={version}"),
    }
    for field, answer in answers.items():
        assert answer.status_code == 400
        assert body_of(answer)["error"]["message"].startswith(field)
