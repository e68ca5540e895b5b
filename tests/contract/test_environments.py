"""Environments through the official SDK (contract/environments.md, behaviour/01 section 1.4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import Served, body_of
from tests.contract.given import a_session, an_environment
from tests.contract.shape import whole

LIMITED: Any = {"type": "limited", "allowed_hosts": ["example.com", "*.example.org"], "allow_package_managers": True}


async def test_an_environment_without_a_config_is_cloud_and_unrestricted(served: Served) -> None:
    environment = whole(await an_environment(served.client))
    assert environment.id.startswith("env_")
    assert environment.config.to_dict() == {
        "type": "cloud",
        "networking": {"type": "unrestricted"},
        "packages": {"type": "packages", "apt": [], "cargo": [], "gem": [], "go": [], "npm": [], "pip": []},
    }
    assert (environment.description, environment.scope, environment.archived_at) == (None, "organization", None)
    assert await served.client.beta.environments.retrieve(environment.id) == environment


async def test_limited_networking_is_answered_with_every_switch(served: Served) -> None:
    environment = whole(await an_environment(served.client, config={"type": "cloud", "networking": LIMITED}))
    assert environment.config.networking.to_dict() == {**LIMITED, "allow_mcp_servers": False}


async def test_mcp_servers_may_be_opened_and_are_closed_where_nothing_is_said(served: Served) -> None:
    for sent, kept in ((False, False), (None, False), (True, True)):
        networking: Any = {**LIMITED, "allow_mcp_servers": sent}
        environment = await an_environment(served.client, config={"type": "cloud", "networking": networking})
        assert environment.config.to_dict()["networking"] == {**LIMITED, "allow_mcp_servers": kept}


async def test_an_update_merges_the_config_down_to_single_switches(served: Served) -> None:
    update = served.client.beta.environments.update
    environment = await an_environment(served.client, config={"type": "cloud", "networking": LIMITED})
    networking: Any = {"type": "limited", "allowed_hosts": []}
    changed = whole(await update(environment.id, config={"type": "cloud", "networking": networking}))
    assert changed.config.networking.to_dict() == {**LIMITED, "allowed_hosts": [], "allow_mcp_servers": False}
    assert (await update(environment.id, config={"type": "cloud"})).config == changed.config
    opened = await update(environment.id, config={"type": "cloud", "networking": {"type": "unrestricted"}})
    assert opened.config.to_dict()["networking"] == {"type": "unrestricted"}


async def test_update_rules_of_the_plain_fields(served: Served) -> None:
    environment = await an_environment(served.client, description="d", metadata={"a": "1", "b": "1", "c": "1"})
    changed = await served.client.beta.environments.update(
        environment.id, name=None, description="", metadata={"a": None, "b": "", "d": "2"}
    )
    assert (changed.name, changed.description, changed.metadata) == ("Cloud", "", {"c": "1", "d": "2"})
    assert (await served.client.beta.environments.update(environment.id, description=None)).description is None


async def test_an_update_that_changes_nothing_leaves_its_time_alone(served: Served) -> None:
    environment = await an_environment(served.client)
    assert await served.client.beta.environments.update(environment.id, name="Cloud") == environment


async def test_environments_are_listed_newest_first_and_may_share_a_name(served: Served) -> None:
    made = [(await an_environment(served.client)).id for _ in range(3)]
    page = await served.client.beta.environments.list(limit=2)
    assert [environment.id async for environment in page] == made[::-1]


async def test_an_archived_environment_is_read_only_and_starts_no_session(served: Served) -> None:
    environments = served.client.beta.environments
    environment = await an_environment(served.client)
    archived = whole(await environments.archive(environment.id))
    assert archived.archived_at is not None
    assert await environments.archive(environment.id) == archived
    assert (await environments.list()).data == []
    assert [one.id for one in (await environments.list(include_archived=True)).data] == [environment.id]
    for path, body in (
        (f"/v1/environments/{environment.id}", {"name": "x"}),
        ("/v1/sessions", {"agent": (await a_session(served.client)).agent.id, "environment_id": environment.id}),
    ):
        response = await served.http.post(path, json=body)
        assert response.status_code == 400
        assert body_of(response)["error"]["details"] == {"error_code": "environment_archived"}


async def test_an_environment_is_deleted_only_when_no_session_refers_to_it(served: Served) -> None:
    environments = served.client.beta.environments
    environment = await an_environment(served.client)
    session = await a_session(served.client, environment_id=environment.id)
    response = await served.http.delete(f"/v1/environments/{environment.id}")
    assert response.status_code == 400
    assert "in use" in body_of(response)["error"]["message"]
    await served.client.beta.sessions.delete(session.id)
    deleted = whole(await environments.delete(environment.id))
    assert (deleted.id, deleted.type) == (environment.id, "environment_deleted")
    assert (await served.http.get(f"/v1/environments/{environment.id}")).status_code == 404


CONFIG = {"type": "cloud"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"config": {**CONFIG, "packages": {"pip": ["x"]}}}, "config.packages.pip: this server does not support packages"),
    ({"scope": "account"}, "scope: this server does not support 'account' yet"),
    ({"config": {"type": "moon"}}, "config.type: must be one of"),
    ({"config": {**CONFIG, "networking": {"type": "open"}}}, "config.networking.type: must be one of"),
    ({"config": {**CONFIG, "networking": {"type": "limited", "hosts": []}}}, "config.networking.hosts: is not a field"),
    *(
        (
            {"config": {**CONFIG, "networking": {"type": "limited", "allowed_hosts": [host]}}},
            "config.networking.allowed_hosts.0: ",
        )
        for host in ("https://example.com", "example.com:80", "example.com/a", "*", "a.*.com", "", "-a.com")
    ),
    ({"name": "a\tb"}, "name: must not hold control characters"),
    ({"name": ""}, "name: "),
    ({"name": "x" * 257}, "name: "),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED)
async def test_a_refused_environment_names_the_field_and_writes_nothing(
    served: Served, fields: dict[str, Any], message: str
) -> None:
    environment = await an_environment(served.client)
    before = await served.snapshot()
    for path in ("/v1/environments", f"/v1/environments/{environment.id}"):
        response = await served.http.post(path, json={"name": "e", **fields})
        assert response.status_code == 400
        assert body_of(response)["error"]["message"].startswith(message)
    assert await served.snapshot() == before


async def test_empty_packages_are_accepted_and_echoed(served: Served) -> None:
    packages: dict[str, Any] = {"apt": [], "npm": None}
    environment = await an_environment(served.client, config={"type": "cloud", "packages": packages})
    found: Any = environment.config.to_dict()
    assert found["packages"]["npm"] == []
