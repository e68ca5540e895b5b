"""Listing events: processed ones in the order of the log, queued ones as newest (contract/events.md, engine.md)."""

from __future__ import annotations

from typing import Any

import pytest

from roost.store.protocols import Batch
from roost.store.statements import append, input_admit
from roost.wire.events.agent import AgentMessage, AgentThinking
from roost.wire.events.content import TextBlock
from roost.wire.events.session import StatusRunning
from tests.contract.conftest import Served, body_of
from tests.contract.given import HELLO, a_session
from tests.contract.shape import whole


def message(text: str) -> AgentMessage:
    return AgentMessage(content=[TextBlock(text=text)])


async def a_log(served: Served, events: int, queued: int) -> tuple[str, list[str]]:
    """A session with some processed and some queued events; (its id, their ids in order)."""
    session = await a_session(served.client)
    written = [message(str(number)) for number in range(events)]
    for event in written:
        await served.emit(session.id, event)
    ids = [event.id for event in written]
    if queued:
        sent: Any = [HELLO] * queued
        echo = await served.client.beta.sessions.events.send(session.id, events=sent)
        ids += [event.id for event in echo.data or []]
    return session.id, ids


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 1_000])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_every_page_size_gives_every_event_once_in_order(served: Served, limit: int, order: Any) -> None:
    session_id, ids = await a_log(served, 4, 3)
    page = await served.client.beta.sessions.events.list(session_id, limit=limit, order=order)
    assert [event.id async for event in page] == (ids if order == "asc" else ids[::-1])


async def test_the_stored_bytes_go_out_untouched(served: Served) -> None:
    session_id, _ = await a_log(served, 3, 2)
    stored = [event.data for event in await served.store.log.read(session_id)]
    queued = [entry.data for entry in await served.store.log.inputs(session_id)]
    response = await served.http.get(f"/v1/sessions/{session_id}/events")
    assert response.content == b'{"data":[%b],"next_page":null}' % b",".join(stored + queued)


async def test_an_input_that_is_admitted_between_two_pages_is_not_lost(served: Served) -> None:
    session_id, ids = await a_log(served, 2, 2)
    events = served.client.beta.sessions.events
    page = await events.list(session_id, limit=3)
    (last, *_) = [entry for entry in await served.store.log.inputs(session_id) if entry.id == ids[3]]
    admitted = (*append(session_id, [last.draft()], now="2999"), input_admit(session_id, last.n, event_id=last.id))
    await served.store.commit(Batch(admitted))
    rest = [event.id async for event in page][3:]
    assert rest == [ids[3]]


async def test_events_are_filtered_by_type_and_time(served: Served) -> None:
    session = await a_session(served.client)
    events = served.client.beta.sessions.events
    await served.emit(session.id, StatusRunning(), AgentThinking())
    await served.emit(session.id, message("one"))
    await served.emit(session.id, message("two"))
    await events.send(session.id, events=[HELLO])
    running, _, one, two, queued = whole((await events.list(session.id)).data)
    types: Any = ["agent.message", "user.message"]
    assert [event async for event in await events.list(session.id, types=types, limit=1)] == [one, two, queued]
    assert one.processed_at is not None
    later = await events.list(session.id, created_at_gt=one.processed_at)
    assert later.data == [two]
    earlier = await events.list(session.id, created_at_lt=one.processed_at, types=["session.status_running"])
    assert earlier.data == [running]


@pytest.mark.parametrize(
    "query",
    [
        "types[]=session.deleted",
        "types[]=nonsense",
        "order=up",
        "limit=0",
        "limit=1001",
        "limit=many",
        "created_at[gte]=yesterday",
        "created_at[gte]=2026-W05-6",
        "created_at[gte]=2026-01-31",
        "created_at[gte]=2026-02-30T12:00:00Z",
        "created_at[gte]=0001-01-01T00:00:00%2B14:00",
        "created_at[lt]=9999-12-31T23:59:59-00:01",
        "page=nonsense",
    ],
)
async def test_a_bad_query_names_the_field(served: Served, query: str) -> None:
    session = await a_session(served.client)
    response = await served.http.get(f"/v1/sessions/{session.id}/events?{query}")
    error = body_of(response)["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith(query.partition("=")[0])


@pytest.mark.parametrize(
    "moment",
    ["2026-01-31t12:00:00.5z", "0001-01-01T00:00:00Z", "2026-01-31T12:00:00%2B02:00", "2026-01-31T12:00:00"],
)
async def test_every_rfc_3339_time_is_taken_and_one_without_an_offset(served: Served, moment: str) -> None:
    session = await a_session(served.client)
    assert (await served.http.get(f"/v1/sessions/{session.id}/events?created_at[gte]={moment}")).status_code == 200


async def test_lists_may_be_written_without_brackets(served: Served) -> None:
    session = await a_session(served.client)
    await served.emit(session.id, StatusRunning(), AgentThinking(), message("one"))
    path = f"/v1/sessions/{session.id}/events?types=agent.thinking&types=agent.message&beta=true"
    assert [event["type"] for event in body_of(await served.http.get(path))["data"]] == [
        "agent.thinking",
        "agent.message",
    ]


async def test_a_cursor_is_bound_to_its_list_and_its_order(served: Served) -> None:
    session_id, _ = await a_log(served, 3, 0)
    other = await a_session(served.client)
    page = (await served.client.beta.sessions.events.list(session_id, limit=1)).next_page
    for path in (
        f"/v1/sessions/{session_id}/events?order=desc&page={page}",
        f"/v1/sessions/{other.id}/events?page={page}",
        f"/v1/agents?page={page}",
    ):
        response = await served.http.get(path)
        assert response.status_code == 400
        assert body_of(response)["error"]["message"].startswith("page: ")
