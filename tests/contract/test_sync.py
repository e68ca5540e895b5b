"""The synchronous SDK over a real socket: every built call once, and the client without betas."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic

from tests.contract.conftest import KEY
from tests.contract.given import CUSTOM, HELLO, TOOLSET
from tests.contract.models import KNOWN
from tests.contract.shape import whole

Journey = Callable[[Anthropic], None]


def agents(client: Anthropic) -> None:
    beta = client.beta.agents
    agent = whole(beta.create(name="a", model=KNOWN, tools=[TOOLSET, CUSTOM]))
    assert whole(beta.update(agent.id, name="b")).version == 2
    assert whole(beta.retrieve(agent.id, version=1)).name == "a"
    assert [one.version for one in beta.versions.list(agent.id)] == [2, 1]
    assert [one.id for one in beta.list()] == [agent.id]
    assert whole(beta.archive(agent.id)).archived_at is not None


def environments(client: Anthropic) -> None:
    beta = client.beta.environments
    environment = whole(beta.create(name="e"))
    assert whole(beta.update(environment.id, name="f")).name == "f"
    assert whole(beta.retrieve(environment.id)).name == "f"
    assert [one.id for one in beta.list()] == [environment.id]
    assert whole(beta.archive(environment.id)).archived_at is not None
    assert whole(beta.delete(environment.id)).type == "environment_deleted"


def sessions(client: Anthropic) -> None:
    beta = client.beta.sessions
    agent = client.beta.agents.create(name="a", model=KNOWN)
    environment = client.beta.environments.create(name="e")
    file = client.beta.files.upload(file=("a.txt", b"a"))
    session = whole(
        beta.create(agent=agent.id, environment_id=environment.id, resources=[{"type": "file", "file_id": file.id}])
    )
    assert whole(beta.update(session.id, title="t")).title == "t"
    assert whole(beta.retrieve(session.id)).title == "t"
    assert [one.id for one in beta.list()] == [session.id]
    resource: Any = beta.resources.list(session.id).data[0]
    assert whole(beta.resources.retrieve(resource.id, session_id=session.id)) == resource
    (thread,) = beta.threads.list(session.id)
    assert whole(beta.threads.retrieve(thread.id, session_id=session.id)) == thread
    with beta.events.stream(session.id) as stream, beta.threads.events.stream(thread.id, session_id=session.id) as same:
        sent = whole(beta.events.send(session.id, events=[HELLO]))
        assert [next(iter(stream))] == [next(iter(same))] == sent.data
    assert [one.id for one in beta.events.list(session.id, types=["user.message"])] == [sent.data[0].id]
    assert len(list(beta.threads.events.list(thread.id, session_id=session.id))) == 2
    assert whole(beta.archive(session.id)).status == "terminated"
    assert whole(beta.delete(session.id)).type == "session_deleted"


def files(client: Anthropic) -> None:
    for group in (client.beta.files, client.files):
        file: Any = group.upload(file=io.BytesIO(b"raw bytes"))
        assert group.retrieve_metadata(file.id).size_bytes == 9
        assert group.download(file.id).read() == b"raw bytes"
        assert [one.id for one in group.list()] == [file.id]
        assert group.delete(file.id).id == file.id


def models(client: Anthropic) -> None:
    for group in (client.beta.models, client.models):
        page: Any = group.list()
        assert KNOWN in [model.id for model in page]
        assert group.retrieve(KNOWN).display_name == "Known"


@pytest.mark.parametrize("journey", [agents, environments, sessions, files, models])
async def test_the_synchronous_client_gets_the_same(url: str, journey: Journey) -> None:
    with Anthropic(base_url=url, api_key=KEY, max_retries=0, _strict_response_validation=True) as client:
        await asyncio.to_thread(journey, client)
