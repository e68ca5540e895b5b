"""Files that a session is given (contract/sessions.md, Resources; behaviour/01 section 1.5)."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from roost.wire.resources import RESOURCES_MAX
from tests.contract.conftest import OTHER_KEY, Served, body_of
from tests.contract.given import a_session, an_agent, an_environment
from tests.contract.shape import whole


async def a_file(served: Served, name: str = "a.txt", content: bytes = b"content") -> str:
    return (await served.client.beta.files.upload(file=(name, content))).id


async def test_a_mounted_file_is_a_copy_that_belongs_to_the_session(served: Served) -> None:
    client = served.client
    original = await a_file(served)
    session = whole(
        await a_session(client, resources=[{"type": "file", "file_id": original, "mount_path": "/data/in.csv"}])
    )
    (resource,) = session.resources
    assert resource.type == "file"
    assert resource.id.startswith("sesrsc_")
    assert resource.mount_path == "/mnt/session/uploads/data/in.csv"
    assert resource.file_id != original
    copy = whole(await client.beta.files.retrieve_metadata(resource.file_id))
    assert copy.scope is not None
    assert (copy.scope.id, copy.filename, copy.size_bytes) == (session.id, "a.txt", 7)
    await client.beta.files.delete(original)
    assert await (await client.beta.files.download(resource.file_id)).read() == b"content"


async def test_the_content_s_name_stays_on_the_server(served: Served) -> None:
    session = await a_session(served.client, resources=[{"type": "file", "file_id": await a_file(served)}])
    kept = orjson.loads((await served.row(session.id)).body)["resources"][0]["sha256"]
    for path in (f"/v1/sessions/{session.id}", f"/v1/sessions/{session.id}/resources", "/v1/files", "/v1/sessions"):
        assert kept not in (await served.http.get(path)).text


async def test_without_a_path_a_file_is_mounted_under_the_id_it_was_named_by(served: Served) -> None:
    original = await a_file(served)
    session = await a_session(served.client, resources=[{"type": "file", "file_id": original}])
    assert session.resources[0].mount_path == f"/mnt/session/uploads/{original}"


async def test_resources_are_listed_and_retrieved(served: Served) -> None:
    file = await a_file(served)
    mounts = [{"type": "file", "file_id": file, "mount_path": f"/{number}"} for number in range(5)]
    session = await a_session(served.client, resources=mounts)
    resources = served.client.beta.sessions.resources
    assert whole((await resources.list(session.id)).data) == session.resources
    assert [resource async for resource in await resources.list(session.id, limit=2)] == session.resources
    first: Any = session.resources[0]
    assert whole(await resources.retrieve(first.id, session_id=session.id)) == first
    response = await served.http.get(f"/v1/sessions/{session.id}/resources/sesrsc_unknown")
    assert (response.status_code, body_of(response)["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["/../etc/passwd"], "resources.0.mount_path: must not hold '.' or '..'"),
        (["a/./b"], "resources.0.mount_path: must not hold '.' or '..'"),
        (["/mnt/session/uploads/../x"], "resources.0.mount_path: must not hold '.' or '..'"),
        (["/"], "resources.0.mount_path: must name a file"),
        (["dir/"], "resources.0.mount_path: must name a file"),
        (["a\nb"], "resources.0.mount_path: must not hold control characters"),
        (["a\0b"], "resources.0.mount_path: must not hold control characters"),
        (["é" * 128], "resources.0.mount_path: each part may have at most 255 bytes"),
        (["a" * 1_025], "resources.0.mount_path: "),
        (["/a", "a"], "resources.1.mount_path: /mnt/session/uploads/a is taken"),
        (["/a", "/mnt/session/uploads//a"], "resources.1.mount_path: /mnt/session/uploads/a is taken"),
        (["/a", "/a/b"], "resources.1.mount_path: /mnt/session/uploads/a/b is taken"),
        (["/a/b", "/a"], "resources.0.mount_path: /mnt/session/uploads/a/b is taken"),
    ],
)
async def test_a_bad_mount_path_is_refused_and_nothing_is_written(
    served: Served, paths: list[str], message: str
) -> None:
    file = await a_file(served)
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    before = await served.snapshot()
    mounts: list[Any] = [{"type": "file", "file_id": file, "mount_path": path} for path in paths]
    body = {"agent": agent.id, "environment_id": environment.id, "resources": mounts}
    response = await served.http.post("/v1/sessions", json=body)
    assert (response.status_code, body_of(response)["error"]["message"][: len(message)]) == (400, message)
    assert await served.snapshot() == before


async def test_a_file_is_added_to_a_living_session_and_taken_away(served: Served) -> None:
    client = served.client
    session = await a_session(client)
    original = await a_file(served)
    resources = client.beta.sessions.resources
    added = whole(await resources.add(session.id, type="file", file_id=original, mount_path="/late.csv"))
    assert added.mount_path == "/mnt/session/uploads/late.csv"
    assert added.file_id != original
    assert whole(await client.beta.sessions.retrieve(session.id)).resources == [added]
    gone = whole(await resources.delete(added.id, session_id=session.id))
    assert (gone.id, gone.type) == (added.id, "session_resource_deleted")
    assert (await client.beta.sessions.retrieve(session.id)).resources == []
    assert (await served.http.get(f"/v1/files/{added.file_id}")).status_code == 404
    whole(await client.beta.files.retrieve_metadata(original))
    response = await served.http.delete(f"/v1/sessions/{session.id}/resources/{added.id}")
    assert (response.status_code, body_of(response)["error"]["type"]) == (404, "not_found_error")


async def test_a_resource_whose_copy_was_deleted_can_still_be_taken_away(served: Served) -> None:
    session = await a_session(served.client, resources=[{"type": "file", "file_id": await a_file(served)}])
    resource: Any = session.resources[0]
    await served.client.beta.files.delete(resource.file_id)
    await served.client.beta.sessions.resources.delete(resource.id, session_id=session.id)
    assert (await served.client.beta.sessions.retrieve(session.id)).resources == []


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        ({"mount_path": "/taken.csv"}, 400, "mount_path: /mnt/session/uploads/taken.csv is taken"),
        ({"mount_path": "/taken.csv/below"}, 400, "mount_path: /mnt/session/uploads/taken.csv/below is taken"),
        ({"mount_path": "../x"}, 400, "mount_path: must not hold '.' or '..'"),
        ({"file_id": "file_unknown"}, 404, "file_id: there is no file with the id"),
        ({"type": "memory_store"}, 400, "this server does not support 'memory_store' resources yet"),
    ],
)
async def test_a_resource_that_cannot_be_added_changes_nothing(
    served: Served, sent: dict[str, str], status: int, message: str
) -> None:
    file = await a_file(served)
    session = await a_session(served.client, resources=[{"type": "file", "file_id": file, "mount_path": "/taken.csv"}])
    before = await served.snapshot()
    body = {"type": "file", "file_id": file, **sent}
    response = await served.http.post(f"/v1/sessions/{session.id}/resources", json=body)
    assert response.status_code == status
    assert message in body_of(response)["error"]["message"]
    assert await served.snapshot() == before


async def test_an_ended_session_keeps_its_resources(served: Served) -> None:
    file = await a_file(served)
    session = await a_session(served.client, resources=[{"type": "file", "file_id": file}])
    await served.client.beta.sessions.archive(session.id)
    path, resource = f"/v1/sessions/{session.id}/resources", session.resources[0]
    responses = [
        await served.http.post(path, json={"type": "file", "file_id": file, "mount_path": "b"}),
        await served.http.delete(f"{path}/{resource.id}"),  # type: ignore[union-attr]
    ]
    assert [response.status_code for response in responses] == [400, 400]


async def test_a_file_has_no_token_to_rotate(served: Served) -> None:
    session = await a_session(served.client, resources=[{"type": "file", "file_id": await a_file(served)}])
    resource: Any = session.resources[0]
    response = await served.http.post(
        f"/v1/sessions/{session.id}/resources/{resource.id}", json={"authorization_token": "t"}
    )
    assert (response.status_code, "has no token" in body_of(response)["error"]["message"]) == (400, True)


async def test_files_added_at_the_same_time_are_all_kept(served: Served) -> None:
    session, file = await a_session(served.client), await a_file(served)
    add = served.client.beta.sessions.resources.add
    added = await asyncio.gather(
        *(add(session.id, type="file", file_id=file, mount_path=f"/{number}") for number in range(3))
    )
    kept = (await served.client.beta.sessions.retrieve(session.id)).resources
    assert {resource.id for resource in added} == {resource.to_dict()["id"] for resource in kept}


async def test_a_session_has_a_bounded_number_of_resources(served: Served) -> None:
    file = await a_file(served)
    mounts: Any = [{"type": "file", "file_id": file, "mount_path": f"/{number}"} for number in range(RESOURCES_MAX)]
    session = await a_session(served.client, resources=mounts)
    response = await served.http.post(f"/v1/sessions/{session.id}/resources", json={"type": "file", "file_id": file})
    assert (response.status_code, "the most allowed" in body_of(response)["error"]["message"]) == (400, True)


async def test_another_workspace_cannot_change_the_resources(served: Served) -> None:
    session = await a_session(served.client, resources=[{"type": "file", "file_id": await a_file(served)}])
    resource: Any = session.resources[0]
    path, other = f"/v1/sessions/{session.id}/resources", {"authorization": f"Bearer {OTHER_KEY}"}
    before = await served.snapshot()
    responses = [
        await served.http.post(path, json={"type": "file", "file_id": resource.file_id}, headers=other),
        await served.http.delete(f"{path}/{resource.id}", headers=other),
    ]
    assert [response.status_code for response in responses] == [404, 404]
    assert await served.snapshot() == before
