"""Files that a session is given (contract/sessions.md, Resources; behaviour/01 section 1.5)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.contract.conftest import Served, body_of
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
