"""The egress log as its user reads it: with the workspace's key, page by page, and nobody else's."""

from __future__ import annotations

from typing import Any

from roost.core.clock import SystemClock
from roost.engine.egress import BATCH_ROWS, EgressRecorder
from roost.proxy.exchange import Passage
from tests.contract.conftest import ADMIN_KEY, HEADERS, OTHER_KEY, Served, body_of
from tests.contract.given import a_session

ALLOWED = Passage("CONNECT", "ok.test", 443, "allowed", "", 10, 2_000, 0.25)
REFUSED = Passage("GET", "no.test", 80, "refused", "no.test is not among the environment's allowed hosts")


async def recorded(served: Served, session_id: str, *passages: Passage) -> None:
    recorder = EgressRecorder(served.store, SystemClock())
    await recorder.start()
    for passage in passages:
        recorder.record(session_id, passage)
    await recorder.stop()


async def read(served: Served, session_id: str, query: str = "") -> Any:
    return body_of(await served.http.get(f"/roost/v1/sessions/{session_id}/egress{query}"))


async def test_what_was_reported_is_read_newest_first(served: Served) -> None:
    session = await a_session(served.client)
    await recorded(served, session.id, ALLOWED, REFUSED)
    reply = await read(served, session.id)
    assert reply["next_page"] is None
    at = [entry.pop("at") for entry in reply["data"]]
    assert at == sorted(at, reverse=True)
    assert reply["data"] == [
        {
            "type": "egress_entry",
            "number": 2,
            "method": "GET",
            "host": "no.test",
            "port": 80,
            "decision": "refused",
            "reason": REFUSED.reason,
            "sent_bytes": 0,
            "received_bytes": 0,
            "duration_ms": 0,
        },
        {
            "type": "egress_entry",
            "number": 1,
            "method": "CONNECT",
            "host": "ok.test",
            "port": 443,
            "decision": "allowed",
            "reason": "",
            "sent_bytes": 10,
            "received_bytes": 2_000,
            "duration_ms": 250,
        },
    ]


async def test_pages_and_the_filter_by_decision_go_together(served: Served) -> None:
    session = await a_session(served.client)
    await recorded(served, session.id, *[ALLOWED, REFUSED] * 3)
    first = await read(served, session.id, "?decision=refused&limit=2")
    second = await read(served, session.id, f"?decision=refused&limit=2&page={first['next_page']}")
    assert [[entry["number"] for entry in reply["data"]] for reply in (first, second)] == [[6, 4], [2]]
    assert second["next_page"] is None


async def test_it_belongs_to_the_workspace_and_not_to_the_operator(served: Served) -> None:
    session = await a_session(served.client)
    path = f"/roost/v1/sessions/{session.id}/egress"
    for key, status in ((OTHER_KEY, 404), (ADMIN_KEY, 401)):
        response = await served.http.get(path, headers={**HEADERS, "authorization": f"Bearer {key}"})
        assert response.status_code == status, key
    assert (await served.http.get("/roost/v1/sessions/sesn_none/egress")).status_code == 404
    assert (await served.http.get(f"{path}?decision=maybe")).status_code == 400
    assert (await served.http.get(f"{path}?page=page_x")).status_code == 400


async def test_more_than_a_batch_is_written_in_order_when_the_recorder_stops(served: Served) -> None:
    session = await a_session(served.client)
    await recorded(served, session.id, *[ALLOWED] * BATCH_ROWS, REFUSED)
    newest, *_ = await served.store.egress.list(session.id, limit=1)
    assert (newest.n, newest.decision) == (BATCH_ROWS + 1, "refused")
