"""The work queue of a self-hosted environment, driven by the calls that a worker makes (contract/work-queue.md)."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from anthropic import APIStatusError, AsyncAnthropic
from anthropic.types.beta.environments import BetaSelfHostedWork

from roost.api.auth import RIGHTS
from roost.core.clock import SystemClock, later, timestamp
from roost.operations.table import TABLE
from roost.store.protocols import Batch
from roost.store.statements import work_update
from tests.contract.conftest import ADMIN_KEY, BETA, KEY, OTHER_KEY, WORKSPACE, Served, body_of
from tests.contract.given import HELLO, a_session, an_environment
from tests.contract.shape import whole
from tests.rig.waiting import until

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def queue_path(environment_id: str) -> str:
    return f"/v1/environments/{environment_id}/work"


@dataclass(frozen=True)
class Queue:
    """A self-hosted environment, the key of its workers, and the official SDK with that key."""

    served: Served
    environment_id: str
    key: str
    worker: AsyncAnthropic

    @property
    def path(self) -> str:
        return queue_path(self.environment_id)

    async def session(self, **fields: Any) -> str:
        return (await a_session(self.served.client, environment_id=self.environment_id, **fields)).id

    async def poll(self, **query: Any) -> BetaSelfHostedWork | None:
        return await self.worker.beta.environments.work.poll(self.environment_id, **query)

    async def polled(self, **query: Any) -> BetaSelfHostedWork:
        item = await self.poll(**query)
        assert item is not None
        return item

    async def active(self) -> tuple[BetaSelfHostedWork, str]:
        """An item in the hands of this worker, and its last heartbeat."""
        item = await self.polled()
        await self.worker.beta.environments.work.ack(item.id, environment_id=self.environment_id)
        return item, (await self.beat(item.id, "NO_HEARTBEAT")).last_heartbeat

    async def beat(self, work_id: str, expected: str, **query: Any) -> Any:
        return await self.worker.beta.environments.work.heartbeat(
            work_id, environment_id=self.environment_id, expected_last_heartbeat=expected, **query
        )

    async def seen(self, work_id: str) -> BetaSelfHostedWork:
        """The item as its owner sees it."""
        return await self.served.client.beta.environments.work.retrieve(work_id, environment_id=self.environment_id)

    async def lapse(self, work_id: str) -> None:
        """Puts the end of the lease into the past, as if the worker had been silent."""
        row = await self.served.store.work.get(self.environment_id, work_id)
        assert row is not None
        past = timestamp(later(SystemClock().now(), -1))
        await self.served.store.commit(Batch((work_update(replace(row, lease_until=past)),)))


async def new_key(served: Served, environment_id: str) -> dict[str, Any]:
    body = {"name": "worker", "workspace_id": WORKSPACE, "environment_id": environment_id}
    made: dict[str, Any] = body_of(await served.http.post("/roost/v1/keys", json=body, headers=ADMIN))
    return made


def token_of(item: BetaSelfHostedWork) -> str:
    assert item.secret is not None
    padded = item.secret + "=" * (-len(item.secret) % 4)
    return str(orjson.loads(base64.urlsafe_b64decode(padded))["sessions_token"])


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
async def queue(served: Served) -> Queue:
    environment = whole(await an_environment(served.client, config={"type": "self_hosted"}))
    assert environment.config.to_dict() == {"type": "self_hosted"}
    key = (await new_key(served, environment.id))["key"]
    return Queue(served, environment.id, key, served.client.copy(api_key=key))


# --- the environment -------------------------------------------------------------------------------------------------


async def test_an_environment_stays_of_the_type_it_was_made_with(queue: Queue) -> None:
    cloud = await an_environment(queue.served.client)
    for environment_id, other in ((queue.environment_id, "cloud"), (cloud.id, "self_hosted")):
        response = await queue.served.http.post(f"/v1/environments/{environment_id}", json={"config": {"type": other}})
        assert (response.status_code, body_of(response)["error"]["details"]["error_code"]) == (
            400,
            "invalid_config_type_change",
        )
    same = await queue.served.client.beta.environments.update(queue.environment_id, config={"type": "self_hosted"})
    assert same.config.to_dict() == {"type": "self_hosted"}


async def test_a_cloud_environment_has_neither_a_queue_nor_worker_keys(served: Served) -> None:
    environment = await an_environment(served.client)
    stats = await served.http.get(queue_path(environment.id) + "/stats")
    assert (stats.status_code, "self_hosted" in stats.text) == (400, True)
    body = {"name": "k", "workspace_id": WORKSPACE, "environment_id": environment.id}
    refused = await served.http.post("/roost/v1/keys", json=body, headers=ADMIN)
    assert (refused.status_code, "self_hosted" in refused.text) == (400, True)


async def test_a_session_with_files_is_refused(queue: Queue) -> None:
    resources = [{"type": "file", "file_id": "file_x"}]
    with pytest.raises(APIStatusError, match="resources: sessions on a self_hosted environment") as refused:
        await queue.session(resources=resources)
    assert refused.value.status_code == 400


# --- from the queue to the end ---------------------------------------------------------------------------------------


async def test_an_item_goes_from_the_queue_through_a_workers_hands_to_its_end(queue: Queue) -> None:
    work = queue.worker.beta.environments.work
    session_id = await queue.session()
    item = whole(await queue.polled(anthropic_worker_id="host-1"))
    assert (item.state, item.data.to_dict()) == ("queued", {"type": "session", "id": session_id})
    assert await queue.poll() is None
    acked = whole(await work.ack(item.id, environment_id=queue.environment_id))
    assert (acked.state, acked.secret, acked.acknowledged_at is None) == ("starting", None, False)
    beat = whole(await queue.beat(item.id, "NO_HEARTBEAT"))
    assert (beat.state, beat.lease_extended, beat.ttl_seconds) == ("active", True, 300)
    again = await queue.beat(item.id, beat.last_heartbeat, desired_ttl_seconds=1)
    assert (again.ttl_seconds, again.last_heartbeat > beat.last_heartbeat) == (10, True)
    seen = whole(await queue.seen(item.id))
    assert (seen.state, seen.latest_heartbeat_at, seen.secret) == ("active", again.last_heartbeat, None)
    stopped = whole(await work.stop(item.id, environment_id=queue.environment_id, force=True))
    assert (stopped.state, stopped.stopped_at is None) == ("stopped", False)
    with pytest.raises(APIStatusError) as twice:
        await work.stop(item.id, environment_id=queue.environment_id, force=True)
    assert twice.value.status_code == 409


async def test_an_empty_poll_is_null_with_200(queue: Queue) -> None:
    path = f"{queue.path}/poll"
    for query in ("", "?block_ms=1"):
        response = await queue.served.http.get(path + query, headers=bearer(queue.key))
        assert (response.status_code, response.content) == (200, b"null")
    for block_ms in (0, 1_000):
        refused = await queue.served.http.get(f"{path}?block_ms={block_ms}", headers=bearer(queue.key))
        assert refused.status_code == 400


async def test_a_poll_that_waits_is_woken_by_new_work(queue: Queue) -> None:
    waiting = asyncio.create_task(queue.poll(block_ms=999))
    topic = f"work:{queue.environment_id}"
    await until(lambda: queue.served.store.bus.listened(topic), "a poll that waits")
    session_id = await queue.session()
    item = await waiting
    assert item is not None
    assert item.data.id == session_id


async def test_many_pollers_at_once_never_share_an_item(queue: Queue) -> None:
    sessions = [await queue.session() for _ in range(20)]
    polls = await asyncio.gather(*(queue.poll() for _ in range(60)))
    got = [item.data.id for item in polls if item is not None]
    assert sorted(got) == sorted(sessions)


async def test_the_sdks_poller_drains_the_queue_and_returns(queue: Queue) -> None:
    sessions = [await queue.session() for _ in range(3)]
    poller = queue.served.client.beta.environments.work.poller(
        environment_id=queue.environment_id, environment_key=queue.key, drain=True, auto_stop=False
    )
    items = [item async for item in poller]
    assert [item.data.id for item in items] == sessions
    assert [(await queue.seen(item.id)).state for item in items] == ["starting"] * 3


async def test_an_item_that_nobody_acknowledged_is_handed_out_again_and_the_first_token_ends(queue: Queue) -> None:
    await queue.session()
    first = await queue.polled()
    again = await queue.polled(reclaim_older_than_ms=0)
    assert again.id == first.id
    path = f"/v1/sessions/{first.data.id}"
    for item, status in ((first, 401), (again, 200)):
        assert (await queue.served.http.get(path, headers=bearer(token_of(item)))).status_code == status


async def test_a_lapsed_lease_goes_to_the_next_poller_and_the_last_holder_is_told(queue: Queue) -> None:
    await queue.session()
    item, last = await queue.active()
    assert await queue.poll(reclaim_older_than_ms=0) is None
    await queue.lapse(item.id)
    assert (await queue.polled()).id == item.id
    with pytest.raises(APIStatusError) as lost:
        await queue.beat(item.id, last)
    assert lost.value.status_code == 412
    body: Any = lost.value.body
    assert body["error"]["details"] == {
        "error_code": "heartbeat_precondition_failed",
        "current_state": {
            "type": "work_heartbeat",
            "last_heartbeat": None,
            "lease_extended": False,
            "state": "queued",
            "ttl_seconds": 300,
        },
    }


async def test_a_heartbeat_is_compared_byte_for_byte(queue: Queue) -> None:
    await queue.session()
    item, last = await queue.active()
    for wrong in ("NO_HEARTBEAT", last.replace("Z", "+00:00"), last[:-2] + "Z"):
        with pytest.raises(APIStatusError) as lost:
            await queue.beat(item.id, wrong)
        assert lost.value.status_code == 412
    assert (await queue.beat(item.id, last)).lease_extended


async def test_a_stop_reaches_the_worker_with_its_next_heartbeat(queue: Queue) -> None:
    await queue.session()
    item, last = await queue.active()
    asked = await queue.served.client.beta.environments.work.stop(item.id, environment_id=queue.environment_id)
    assert (asked.state, asked.stop_requested_at is None, asked.stopped_at) == ("stopping", False, None)
    beat = await queue.beat(item.id, last)
    assert (beat.state, beat.lease_extended, beat.last_heartbeat) == ("stopping", False, last)
    done = await queue.worker.beta.environments.work.stop(item.id, environment_id=queue.environment_id)
    assert (done.state, done.stop_requested_at) == ("stopped", asked.stop_requested_at)


async def test_an_archived_session_stops_its_item_and_a_deleted_one_takes_it_along(queue: Queue) -> None:
    sessions = queue.served.client.beta.sessions
    archived, waiting, deleted = [await queue.session() for _ in range(3)]
    item, last = await queue.active()
    assert item.data.id == archived
    await sessions.archive(archived)
    await sessions.archive(waiting)
    await sessions.delete(deleted)
    assert (await queue.beat(item.id, last)).state == "stopping"
    listed = await queue.worker.beta.environments.work.list(queue.environment_id)
    assert [(one.data.id, one.state) for one in listed.data] == [(waiting, "stopped"), (archived, "stopping")]
    assert await queue.poll() is None


async def test_a_message_asks_for_a_worker_again_when_there_is_none(queue: Queue) -> None:
    session_id = await queue.session()
    item, _ = await queue.active()
    send = queue.served.client.beta.sessions.events.send
    await send(session_id, events=[HELLO])
    assert await queue.poll() is None
    await queue.worker.beta.environments.work.stop(item.id, environment_id=queue.environment_id, force=True)
    await send(session_id, events=[HELLO])
    fresh = await queue.polled()
    assert (fresh.data.id, fresh.id == item.id) == (session_id, False)


async def test_a_message_that_comes_as_the_worker_leaves_is_not_missed(queue: Queue) -> None:
    stop = queue.worker.beta.environments.work.stop
    session_id = await queue.session()
    item, _ = await queue.active()
    await queue.served.client.beta.sessions.events.send(session_id, events=[HELLO])
    await stop(item.id, environment_id=queue.environment_id, force=True)
    again, _ = await queue.active()
    assert (again.data.id, again.id == item.id) == (session_id, False)
    await queue.served.client.beta.environments.work.stop(again.id, environment_id=queue.environment_id, force=True)
    assert await queue.poll() is None


async def test_metadata_is_merged_and_too_much_of_it_is_refused(queue: Queue) -> None:
    work = queue.served.client.beta.environments.work
    await queue.session()
    item = await queue.polled()
    changed = await work.update(item.id, environment_id=queue.environment_id, metadata={"a": "1", "b": "1"})
    assert changed.metadata == {"a": "1", "b": "1"}
    merged = whole(await work.update(item.id, environment_id=queue.environment_id, metadata={"a": None, "c": "2"}))
    assert merged.metadata == {"b": "1", "c": "2"}
    many: dict[str, str | None] = {str(number): "x" for number in range(17)}
    with pytest.raises(APIStatusError) as refused:
        await work.update(item.id, environment_id=queue.environment_id, metadata=many)
    body: Any = refused.value.body
    assert (refused.value.status_code, body["error"]["details"]["error_code"]) == (400, "invalid_metadata")


async def test_the_statistics_count_items_and_the_workers_that_poll(queue: Queue) -> None:
    stats = queue.served.client.beta.environments.work.stats
    empty = whole(await stats(queue.environment_id))
    assert (empty.depth, empty.pending, empty.oldest_queued_at, empty.workers_polling) == (0, 0, None, 0)
    for _ in range(3):
        await queue.session()
    for worker in ("host-1", "host-2", "host-2"):
        await queue.poll(anthropic_worker_id=worker, reclaim_older_than_ms=60_000)
    one = await queue.seen((await queue.worker.beta.environments.work.list(queue.environment_id)).data[-1].id)
    full = whole(await stats(queue.environment_id))
    assert (full.depth, full.pending, full.workers_polling) == (0, 3, 2)
    assert full.oldest_queued_at == one.created_at


async def test_items_are_listed_newest_first_in_pages(queue: Queue) -> None:
    sessions = [await queue.session() for _ in range(5)]
    page = await queue.worker.beta.environments.work.list(queue.environment_id, limit=2)
    assert [item.data.id async for item in page] == sessions[::-1]


# --- who may do what -------------------------------------------------------------------------------------------------


def paths(queue: Queue, session_id: str, work_id: str) -> list[tuple[str, str, str]]:
    """(name, method, path) of every call of the API, with the ids of this queue."""
    ids = {"environment_id": queue.environment_id, "session_id": session_id, "work_id": work_id}
    found = []
    for endpoint in TABLE:
        parts = [ids.get(part[1:-1], "x_1") if part.startswith("{") else part for part in endpoint.path.split("/")]
        found.append((endpoint.name, endpoint.method, "/".join(parts)))
    return found


async def test_a_workers_credentials_open_what_the_table_names_and_nothing_else(queue: Queue) -> None:
    session_id = await queue.session()
    item = await queue.polled()
    for credential, key in (("environment_key", queue.key), ("item_token", token_of(item))):
        walked = 0
        for name, method, path in paths(queue, session_id, item.id):
            allowed = credential in RIGHTS.get(name, ("api_key",))
            if not allowed:
                response = await queue.served.http.request(method, path, headers=bearer(key))
                assert response.status_code == 403, (credential, name)
                walked += 1
        assert walked >= len(TABLE) - len(RIGHTS)
    for path in (queue.path, f"{queue.path}/poll"):
        assert (await queue.served.http.get(path)).status_code == 403


async def test_a_workers_credentials_never_reach_another_session_or_environment(queue: Queue) -> None:
    served = queue.served
    other = Queue(served, (await an_environment(served.client, config={"type": "self_hosted"})).id, "", queue.worker)
    mine, beside, foreign = await queue.session(), await queue.session(), await other.session()
    item = await queue.polled()
    second = await queue.polled()
    token = token_of(item)
    assert (item.data.id, second.data.id) == (mine, beside)
    for key, session_id, status in (
        (queue.key, mine, 200),
        (queue.key, beside, 200),
        (queue.key, foreign, 404),
        (token, mine, 200),
        (token, beside, 404),
        (token, foreign, 404),
    ):
        for path in (f"/v1/sessions/{session_id}", f"/v1/sessions/{session_id}/events"):
            assert (await served.http.get(path, headers=bearer(key))).status_code == status
    poll = f"{other.path}/poll"
    assert (await served.http.get(poll, headers=bearer(queue.key))).status_code == 404
    beat = f"{queue.path}/{second.id}/heartbeat"
    assert (await served.http.post(beat, headers=bearer(token))).status_code == 404
    assert (await served.http.get(f"/v1/sessions/{mine}", headers=bearer(OTHER_KEY))).status_code == 404


async def test_a_worker_can_tell_the_session_nothing_but_results(queue: Queue) -> None:
    session_id = await queue.session()
    item = await queue.polled()
    before = await queue.served.snapshot()
    confirmation = {"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow"}
    for key in (queue.key, token_of(item)):
        for event in (HELLO, {"type": "user.interrupt"}, confirmation):
            path = f"/v1/sessions/{session_id}/events"
            response = await queue.served.http.post(path, json={"events": [event]}, headers=bearer(key))
            assert response.status_code == 403
    assert await queue.served.snapshot() == before


async def test_a_revoked_environment_key_ends_with_the_next_call(queue: Queue) -> None:
    made = await new_key(queue.served, queue.environment_id)
    assert made["environment_id"] == queue.environment_id
    path = f"{queue.path}/poll"
    headers = {**bearer(made["key"]), "anthropic-beta": BETA}
    assert (await queue.served.http.get(path, headers=headers)).status_code == 200
    await queue.served.http.delete(f"/roost/v1/keys/{made['id']}?workspace_id={WORKSPACE}", headers=ADMIN)
    assert (await queue.served.http.get(path, headers=headers)).status_code == 401


async def test_an_items_token_ends_with_the_item_and_is_kept_as_a_digest(queue: Queue) -> None:
    session_id = await queue.session()
    item = await queue.polled()
    token = token_of(item)
    row = await queue.served.store.work.get(queue.environment_id, item.id)
    assert row is not None
    assert row.token_hash not in (None, token)
    assert (await queue.served.http.get(f"/v1/sessions/{session_id}", headers=bearer(token))).status_code == 200
    path = f"{queue.path}/{item.id}/stop"
    assert (await queue.served.http.post(path, json={"force": True}, headers=bearer(token))).status_code == 200
    assert (await queue.served.http.get(f"/v1/sessions/{session_id}", headers=bearer(token))).status_code == 401
    assert (await queue.served.http.get(f"/v1/sessions/{session_id}", headers=bearer(KEY))).status_code == 200
