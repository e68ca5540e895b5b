"""The operator's own calls under `/roost/v1`."""

from __future__ import annotations

import httpx2

from roost.operations.operator import key_digest
from tests.contract.conftest import ADMIN_KEY, KEY, OTHER_WORKSPACE, Served, body_of
from tests.contract.given import HELLO, a_session

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


async def test_health_needs_no_key(served: Served) -> None:
    response = await served.http.get("/roost/v1/health", headers={"authorization": ""})
    assert (response.status_code, body_of(response)) == (200, {"status": "ok"})


async def test_a_workspace_key_is_not_the_operators_nor_the_other_way_round(served: Served) -> None:
    for path in ("keys", "owners", "doctor"):
        response = await served.http.get(f"/roost/v1/{path}", headers={"authorization": f"Bearer {KEY}"})
        assert (response.status_code, body_of(response)["error"]["type"]) == (401, "authentication_error")
    assert (await served.http.get("/v1/agents", headers=ADMIN)).status_code == 401


async def test_a_new_key_works_is_shown_once_and_is_kept_as_a_digest(served: Served) -> None:
    made = await served.http.post("/roost/v1/keys", json={"name": "laptop"}, headers=ADMIN)
    key = body_of(made)
    assert (key["type"], key["name"], key["workspace_id"]) == ("api_key", "laptop", "wrkspc_default")
    assert (await called(served, key["key"])).status_code == 200
    listed = await served.http.get("/roost/v1/keys", headers=ADMIN)
    assert [one["id"] for one in body_of(listed)["data"]] == [key["id"]]
    assert key["key"] not in listed.text
    found = await served.store.keys.find(key_digest(key["key"]))
    assert found is not None
    assert found.id == key["id"]


async def test_a_revoked_key_ends_with_the_cache_that_knew_it(served: Served) -> None:
    body = {"name": "k", "workspace_id": OTHER_WORKSPACE}
    key = body_of(await served.http.post("/roost/v1/keys", json=body, headers=ADMIN))
    path = f"/roost/v1/keys/{key['id']}?workspace_id={OTHER_WORKSPACE}"
    revoked = body_of(await served.http.delete(path, headers=ADMIN))
    assert revoked["revoked_at"] is not None
    assert body_of(await served.http.delete(path, headers=ADMIN)) == revoked
    assert (await called(served, key["key"])).status_code == 401
    assert (await served.http.delete("/roost/v1/keys/apikey_unknown", headers=ADMIN)).status_code == 404


async def test_a_key_is_never_remembered_under_an_idempotency_key(served: Served) -> None:
    headers = {**ADMIN, "idempotency-key": "once"}
    first, second = [
        body_of(await served.http.post("/roost/v1/keys", json={"name": "k"}, headers=headers)) for _ in range(2)
    ]
    assert first["key"] != second["key"]
    assert await served.store.keys.replay("", "once", "/roost/v1/keys", since="") is None


async def test_owners_shows_who_holds_which_session(served: Served) -> None:
    session = await a_session(served.client, initial_events=[HELLO])
    await served.store.queue.claim("wrkr_1", 10, now="9999", lease_until="2999-01-01T00:00:00.000000Z")
    owners = body_of(await served.http.get("/roost/v1/owners", headers=ADMIN))["data"]
    assert [(owner["session_id"], owner["owner"]) for owner in owners] == [(session.id, "wrkr_1")]
    path = f"/roost/v1/owners?workspace_id={OTHER_WORKSPACE}"
    assert body_of(await served.http.get(path, headers=ADMIN))["data"] == []


async def test_doctor_says_what_the_composition_root_knows(served: Served) -> None:
    assert body_of(await served.http.get("/roost/v1/doctor", headers=ADMIN)) == {"isolation": "none"}


async def called(served: Served, key: str) -> httpx2.Response:
    return await served.http.get("/v1/agents", headers={"authorization": f"Bearer {key}"})
