"""What holds for every call: keys, betas, the error envelope, limits (contract/http.md, behaviour/01 section 1.1)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from roost.core.settings import RateLimits
from roost.operations.resource import Context
from roost.store.protocols import StoreFull
from tests.contract.conftest import HEADERS, KEY, OTHER_KEY, Served, body_of, serving
from tests.contract.given import CUSTOM, HELLO, TOOLSET, a_session, an_agent, an_environment
from tests.contract.models import KNOWN

AGENT: dict[str, Any] = {"name": "a", "model": KNOWN}
OTHER = {"authorization": f"Bearer {OTHER_KEY}"}


def error_of(response: httpx2.Response, status: int, type: str) -> dict[str, Any]:
    """The error of a refused call, once its envelope is known to be right."""
    body: dict[str, Any] = body_of(response)
    assert (response.status_code, body["error"]["type"]) == (status, type)
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    assert body["request_id"].startswith("req_")
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = body["error"]
    assert error["message"]
    return error


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY}"}, {"x-api-key": KEY}],
)
async def test_a_key_is_taken_from_either_header(served: Served, headers: dict[str, str]) -> None:
    response = await served.http.get("/v1/agents", headers={"authorization": "", **headers})
    assert response.status_code == 200
    assert response.headers["request-id"].startswith("req_")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Basic abc"},
        {"authorization": "Bearer wrong"},
        {"authorization": "", "x-api-key": "wrong"},
        {"authorization": "Bearer " + "x" * 2_000},
    ],
)
async def test_without_a_valid_key_nothing_is_answered(served: Served, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/agents"), ("POST", "/v1/agents"), ("GET", "/v1/vaults"), ("GET", "/v1/files")):
        error_of(await served.http.request(method, path, headers=headers), 401, "authentication_error")


async def test_another_workspaces_objects_are_not_there(served: Served) -> None:
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    file = await served.client.beta.files.upload(file=("a.txt", b"a"))
    session = await a_session(served.client, agent=agent.id, environment_id=environment.id)
    before = await served.snapshot()
    paths = [
        f"/v1/agents/{agent.id}",
        f"/v1/agents/{agent.id}/versions",
        f"/v1/environments/{environment.id}",
        f"/v1/sessions/{session.id}",
        f"/v1/sessions/{session.id}/events",
        f"/v1/sessions/{session.id}/events/stream",
        f"/v1/sessions/{session.id}/threads",
        f"/v1/sessions/{session.id}/resources",
        f"/v1/files/{file.id}",
        f"/v1/files/{file.id}/content",
    ]
    for path in paths:
        error_of(await served.http.get(path, headers=OTHER), 404, "not_found_error")
    for path in (paths[0], paths[2], paths[3], f"{paths[0]}/archive", f"{paths[2]}/archive", f"{paths[3]}/archive"):
        error_of(await served.http.post(path, json={}, headers=OTHER), 404, "not_found_error")
    for path in (paths[2], paths[3], paths[8]):
        error_of(await served.http.delete(path, headers=OTHER), 404, "not_found_error")
    events = await served.http.post(paths[4], json={"events": [HELLO]}, headers=OTHER)
    error_of(events, 404, "not_found_error")
    for path in ("/v1/agents", "/v1/environments", "/v1/sessions", "/v1/files"):
        assert body_of(await served.http.get(path, headers=OTHER))["data"] == []
    assert await served.snapshot() == before


async def test_a_named_workspace_must_be_the_keys(served: Served) -> None:
    right = await served.http.get("/v1/agents", headers={"anthropic-workspace-id": "wrkspc_one"})
    assert right.status_code == 200
    wrong = await served.http.get("/v1/agents", headers={"anthropic-workspace-id": "wrkspc_two"})
    error_of(wrong, 403, "permission_error")


# --- betas and versions ----------------------------------------------------------------------------------------------


async def test_a_call_in_beta_is_not_there_without_its_header(served: Served) -> None:
    for path, value in (
        ("/v1/agents", "managed-agents-2026-04-01"),
        ("/v1/sessions/x/threads", "managed-agents-2026-04-01"),
        ("/v1/memory_stores", "agent-memory-2026-07-22"),
        ("/v1/dreams", "dreaming-2026-04-21"),
    ):
        for sent in ("", "files-api-2025-04-14", "managed-agents"):
            response = await served.http.get(path, headers={"anthropic-beta": sent})
            assert value in error_of(response, 404, "not_found_error")["message"]


async def test_a_beta_is_found_among_others(served: Served) -> None:
    headers = {"anthropic-beta": "skills-2025-10-02, managed-agents-2026-04-01,other"}
    assert (await served.http.get("/v1/agents", headers=headers)).status_code == 200


async def test_both_versions_and_the_old_query_pair_are_accepted(served: Served) -> None:
    for version in ("2023-06-01", "2026-10-21"):
        response = await served.http.get("/v1/agents?beta=true", headers={"anthropic-version": version})
        assert response.status_code == 200
    wrong = await served.http.get("/v1/agents", headers={"anthropic-version": "1999-01-01"})
    assert "anthropic-version" in error_of(wrong, 400, "invalid_request_error")["message"]


# --- paths and methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/agent", "/v1/agents/", "/v1/agents/a/b/c/d", "/v2/agents", "//"])
async def test_an_unknown_path_is_an_enveloped_404(served: Served, path: str) -> None:
    error_of(await served.http.get(f"http://roost{path}"), 404, "not_found_error")


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/v1/agents/x"), ("DELETE", "/v1/agents/x"), ("PATCH", "/v1/files")]
)
async def test_a_wrong_method_is_an_enveloped_405(served: Served, method: str, path: str) -> None:
    error_of(await served.http.request(method, path), 405, "invalid_request_error")


@pytest.mark.parametrize("path", ["/v1/agents/%2e%2e", "/v1/agents/..%2f..%2fetc", "/v1/files/%00/content"])
async def test_traversal_in_a_path_finds_nothing(served: Served, path: str) -> None:
    error_of(await served.http.get(path), 404, "not_found_error")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/agents/" + "x" * 2_100, {}, 414),
        ("/v1/agents?x=" + "x" * 17_000, {}, 414),
        ("/v1/agents", {f"x-{number}": "x" for number in range(101)}, 431),
    ],
)
async def test_an_oversized_head_is_refused(served: Served, path: str, headers: dict[str, str], status: int) -> None:
    error_of(await served.http.get(path, headers=headers), status, "invalid_request_error")


# --- bodies ----------------------------------------------------------------------------------------------------------


async def refused_body(served: Served, content: Any, **headers: str) -> dict[str, Any]:
    before = await served.snapshot()
    response = await served.http.post("/v1/agents", content=content, headers={**HEADERS, **headers})
    error = error_of(response, 400, "invalid_request_error")
    assert await served.snapshot() == before
    return error


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"nonsense",
        b'{"name":"a",}',
        b'{"name":NaN}',
        b"\xff\xfe",
        b'{"name":"\xff"}',
        b'{"name":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
async def test_what_is_no_json_is_refused_as_such(served: Served, content: bytes) -> None:
    assert "not valid JSON" in (await refused_body(served, content, **{"content-type": "application/json"}))["message"]


@pytest.mark.parametrize("content", [b"[]", b"5", b'"text"', b"null"])
async def test_a_body_must_be_an_object(served: Served, content: bytes) -> None:
    assert "JSON object" in (await refused_body(served, content))["message"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("content-type", "text/plain", None),
        ("content-type", "application/x-www-form-urlencoded", None),
        ("content-type", "application/json; charset=latin-1", "unsupported_charset"),
        ("content-encoding", "gzip", "request_body_encoding_unsupported"),
    ],
)
async def test_a_body_in_another_form_is_refused(served: Served, name: str, value: str, code: str | None) -> None:
    error = await refused_body(served, orjson.dumps(AGENT), **{name: value})
    assert error["message"].startswith(name)
    assert error.get("details") == ({"error_code": code} if code else None)


async def test_a_body_that_is_too_large_is_refused_whether_announced_or_not(tmp_path: Path) -> None:
    async with serving(tmp_path, request_bytes_max=2_000) as served:
        large = orjson.dumps({**AGENT, "system": "x" * 2_000})

        async def unannounced() -> Any:
            yield large

        for content in (large, unannounced()):
            error_of(await served.http.post("/v1/agents", content=content), 413, "invalid_request_error")
        assert (await served.client.beta.agents.list()).data == []


async def test_a_call_without_a_body_takes_none_and_an_empty_one(served: Served) -> None:
    agent = await an_agent(served.client)
    path = f"/v1/agents/{agent.id}/archive"
    response = await served.http.post(path, json={"name": "x"})
    assert error_of(response, 400, "invalid_request_error")["message"].startswith("name: is not a field")
    for content, headers in ((b"", {"content-type": "application/json"}), (b"", {}), (b"{}", {})):
        assert (await served.http.post(path, content=content, headers=headers)).status_code == 200


BAD_AGENTS: list[tuple[dict[str, Any], str]] = [
    ({"name": None}, "name: must be a string"),
    ({"name": 5}, "name: must be a string"),
    ({"name": ""}, "name: must have 1 or more characters"),
    ({"name": "x" * 257}, "name: must have at most 256 characters"),
    ({"model": ""}, "model: must have 1 or more characters"),
    ({"model": 5}, "model: must be a string or an object"),
    ({"model": {"id": "x", "effort": [1]}}, "model.effort: must be a string or an object"),
    ({"name": "two\nlines"}, "name: must not hold control characters"),
    ({"name": "\x9b2J"}, "name: must not hold control characters"),
    ({"model": {"name": "x"}}, "model.id: is required"),
    ({"model": {"id": "x", "effort": "huge"}}, "model.effort: must be 'low', 'medium', 'high', 'xhigh' or 'max'"),
    ({"model": {"id": "x", "speed": 5}}, "model.speed: must be 'standard' or 'fast'"),
    ({"model": {"id": "x", "temperature": 1}}, "model.temperature: is not a field"),
    ({"system": "x" * 100_001}, "system: must have at most 100000 characters"),
    ({"tools": None}, "tools: must be a list"),
    ({"tools": [5]}, "tools.0: must be "),
    ({"tools": [{}]}, "tools.0.type: is required"),
    ({"tools": [{"type": "bash_20250124"}]}, "tools.0.type: must be one of"),
    ({"tools": [{**TOOLSET, "configs": [{"name": "fly"}]}]}, "tools.0.configs.0.name: must be one of"),
    ({"tools": [{**TOOLSET, "configs": [{"name": "bash", "type": "read"}]}]}, "tools.0.configs.0: `type` must be"),
    ({"tools": [{**TOOLSET, "configs": [{"name": "bash"}] * 2}]}, "tools.0.configs: the same tool is configured twice"),
    ({"tools": [{**TOOLSET, "configs": [{"name": "bash", "enabled": "yes"}]}]}, "tools.0.configs.0.enabled: must be"),
    (
        {"tools": [{**TOOLSET, "default_config": {"permission_policy": {"type": "auto"}}}]},
        "tools.0.default_config.permission_policy.type: this server does not support 'auto' yet",
    ),
    (
        {"tools": [{**TOOLSET, "configs": [{"name": "web_fetch", "allowed_domains": ["https://a.com"]}]}]},
        "tools.0.configs.0.allowed_domains.0: ",
    ),
    ({"tools": [TOOLSET, TOOLSET]}, "tools.1.name: there is already a tool named 'bash'"),
    ({"tools": [CUSTOM, CUSTOM]}, "tools.1.name: there is already a tool named 'weather'"),
    ({"tools": [{**CUSTOM, "name": "bash"}]}, "tools.0.name: 'bash' is the name of a built-in tool"),
    ({"tools": [{**CUSTOM, "name": "mcp__x"}]}, "tools.0.name: must not begin with mcp__ or ant__"),
    ({"tools": [{**CUSTOM, "name": "ant__x"}]}, "tools.0.name: must not begin with mcp__ or ant__"),
    ({"tools": [{**CUSTOM, "name": "with space"}]}, "tools.0.name: must match the pattern ^[A-Za-z0-9_-]{1,128}$"),
    ({"tools": [{**CUSTOM, "name": "trailing\n"}]}, "tools.0.name: "),
    ({"tools": [{**CUSTOM, "description": ""}]}, "tools.0.description: "),
    ({"tools": [{k: v for k, v in CUSTOM.items() if k != "description"}]}, "tools.0.description: is required"),
    *(
        ({"tools": [{**CUSTOM, "input_schema": schema}]}, "tools.0.input_schema: ")
        for schema in (
            {},
            {"type": "string"},
            {"type": "object", "anyOf": []},
            {"type": "object", "properties": {"a b": {}}},
            {"type": "object", "properties": {"a": {"items": [{"$ref": "#/x"}]}}},
            {"type": "object", "properties": []},
            {"type": "object", "required": "a"},
            {"type": "object", "maximum": 1 << 80},
        )
    ),
    ({"tools": [{**CUSTOM, "name": f"t{n}"} for n in range(257)]}, "tools: must have at most 256 entries"),
    ({"tools": [TOOLSET, *({**CUSTOM, "name": f"t{n}"} for n in range(249))]}, "tools: 257 tools"),
    ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, "tools.0.mcp_server_name: 'x' names no entry"),
    ({"mcp_servers": [{"type": "url", "name": "x", "url": "u"}]}, "mcp_servers: this server does not support MCP"),
    ({"skills": [{"type": "custom", "skill_id": "x"}]}, "skills: this server does not support skills yet"),
    ({"multiagent": {"type": "coordinator"}}, "multiagent: this server does not support multiagent orchestration yet"),
    ({"execution_identity": {"type": "aws_role", "role_arn": "x"}}, "execution_identity.type: this server does not"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata: must have at most 16 entries"),
    ({"metadata": {"k": "x" * 513}}, "metadata.k: must have at most 512 characters"),
    ({"metadata": {"k": None}}, "metadata.k: must be a string"),
    ({"unknown": 1}, "unknown: is not a field of this request"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_AGENTS)
async def test_a_bad_field_is_named_and_nothing_is_written(
    served: Served, fields: dict[str, Any], message: str
) -> None:
    before = await served.snapshot()
    response = await served.http.post("/v1/agents", json={**AGENT, **fields})
    said = error_of(response, 400, "invalid_request_error")["message"]
    assert said[: len(message)] == message
    assert "should" not in said
    assert await served.snapshot() == before


async def test_unbuilt_fields_are_accepted_empty_or_null_and_echoed(served: Served) -> None:
    nothings: tuple[Any, ...] = (None, [])
    for nothing in nothings:
        body = {**AGENT, "mcp_servers": nothing, "skills": nothing, "multiagent": None, "execution_identity": None}
        agent = body_of(await served.http.post("/v1/agents", json=body))
        assert (agent["mcp_servers"], agent["skills"], agent["multiagent"]) == ([], [], None)
        assert agent["execution_identity"] == {"type": "service_account"}


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_a_fault_of_our_own_shows_nothing_but_the_requests_id(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Context) -> str:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(Context, "now", broken)
    response = await served.http.post("/v1/agents", json=AGENT)
    error_of(response, 500, "api_error")
    assert "secret" not in response.text
    assert response.headers["request-id"] in caplog.text
    assert "a secret detail" in caplog.text


async def test_a_full_disk_is_said_and_nothing_is_written(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(batch: object) -> None:
        raise StoreFull("the disk is full")

    before = await served.snapshot()
    monkeypatch.setattr(served.store, "commit", full)
    error_of(await served.http.post("/v1/agents", json=AGENT), 503, "api_error")
    assert await served.snapshot() == before


# --- rate limits -----------------------------------------------------------------------------------------------------


async def test_creates_and_reads_are_limited_apart_for_each_workspace_and_other_writes_are_free(tmp_path: Path) -> None:
    async with serving(tmp_path, rate_limits=RateLimits(create=2, read=3)) as served:
        made = [await served.http.post("/v1/agents", json=AGENT) for _ in range(3)]
        assert [response.status_code for response in made] == [200, 200, 429]
        error_of(made[-1], 429, "rate_limit_error")
        assert 1 <= int(made[-1].headers["retry-after"]) <= 31
        assert (await served.http.post("/v1/environments", json={"name": "e"})).status_code == 429
        read = [(await served.http.get("/v1/agents")).status_code for _ in range(4)]
        assert read == [200, 200, 200, 429]
        agent = body_of(made[0])["id"]
        assert (await served.http.post(f"/v1/agents/{agent}", json={"name": "b"})).status_code == 200
        assert (await served.http.post("/v1/agents", json=AGENT, headers=OTHER)).status_code == 200


async def test_limits_can_be_switched_off(served: Served) -> None:
    codes = {(await served.http.get("/v1/agents")).status_code for _ in range(50)}
    assert codes == {200}


# --- idempotency -----------------------------------------------------------------------------------------------------


CREATES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/agents", {"json": AGENT}),
    ("/v1/environments", {"json": {"name": "e"}}),
    ("/v1/files", {"files": {"file": ("a.txt", b"a")}}),
]


@pytest.mark.parametrize(("path", "sent"), CREATES)
async def test_a_repeated_create_is_answered_without_being_done_again(
    served: Served, path: str, sent: dict[str, Any]
) -> None:
    headers = {"idempotency-key": "once"}
    first, again = [await served.http.post(path, headers=headers, **sent) for _ in range(2)]
    assert (first.status_code, first.content) == (200, again.content)
    assert len(body_of(await served.http.get(path))["data"]) == 1
    assert first.headers["request-id"] != again.headers["request-id"]
    other = await served.http.post(path, headers={"idempotency-key": "twice"}, **sent)
    assert body_of(other)["id"] != body_of(first)["id"]


async def test_a_repeated_call_warns_again_of_tools_that_are_not_built(served: Served) -> None:
    agent = {**AGENT, "tools": [TOOLSET]}
    first = await served.http.post("/v1/agents", json=agent, headers={"idempotency-key": "agents"})
    agent_id, environment = body_of(first)["id"], await an_environment(served.client)
    session = {"agent": agent_id, "environment_id": environment.id}
    session_id = body_of(await served.http.post("/v1/sessions", json=session))["id"]
    for path, body in (
        ("/v1/agents", agent),
        ("/v1/sessions", session),
        (f"/v1/sessions/{session_id}/archive", {}),
        (f"/v1/agents/{agent_id}/archive", {}),
    ):
        headers = {"idempotency-key": path.rpartition("/")[2]}
        told, again = [await served.http.post(path, json=body, headers=headers) for _ in range(2)]
        assert told.content == again.content
        assert told.headers["x-roost-warning"] == again.headers["x-roost-warning"]


async def test_repeated_sends_and_sessions_are_not_doubled(served: Served) -> None:
    agent, environment = await an_agent(served.client), await an_environment(served.client)
    body = {"agent": agent.id, "environment_id": environment.id, "initial_events": [HELLO]}
    headers = {"idempotency-key": "k" * 255}
    one, same = [body_of(await served.http.post("/v1/sessions", json=body, headers=headers)) for _ in range(2)]
    assert one == same
    path = f"/v1/sessions/{one['id']}/events"
    sent, repeated = [
        (await served.http.post(path, json={"events": [HELLO]}, headers=headers)).content for _ in range(2)
    ]
    assert sent == repeated
    assert len(await served.store.log.inputs(one["id"])) == 2


async def test_of_two_requests_at_once_under_one_key_one_is_done(served: Served) -> None:
    headers = {"idempotency-key": "once"}
    posts = (served.http.post("/v1/agents", json=AGENT, headers=headers) for _ in range(4))
    answers = {response.content for response in await asyncio.gather(*posts)}
    assert len(answers) == 1
    assert len((await served.client.beta.agents.list()).data) == 1


async def test_another_body_under_the_same_key_is_a_conflict_that_no_retry_cures(served: Served) -> None:
    headers = {"idempotency-key": "once"}
    await served.http.post("/v1/agents", json=AGENT, headers=headers)
    other = await served.http.post("/v1/agents", json={**AGENT, "name": "b"}, headers=headers)
    error_of(other, 409, "conflict_error")
    assert other.headers["x-should-retry"] == "false"
    assert len((await served.client.beta.agents.list()).data) == 1


async def test_a_key_is_one_workspaces_own_and_a_refusal_is_not_remembered(served: Served) -> None:
    headers = {"idempotency-key": "once"}
    assert (await served.http.post("/v1/agents", json={}, headers=headers)).status_code == 400
    first = body_of(await served.http.post("/v1/agents", json=AGENT, headers=headers))
    other = body_of(await served.http.post("/v1/agents", json=AGENT, headers={**headers, **OTHER}))
    assert first["id"] != other["id"]


async def test_a_key_is_forgotten_after_its_time(tmp_path: Path) -> None:
    async with serving(tmp_path, idempotency_ttl_s=0) as served:
        headers = {"idempotency-key": "once"}
        first, second = [body_of(await served.http.post("/v1/agents", json=AGENT, headers=headers)) for _ in range(2)]
        assert first["id"] != second["id"]


async def test_an_idempotency_key_has_a_length(served: Served) -> None:
    for key in ("", "k" * 256):
        response = await served.http.post("/v1/agents", json=AGENT, headers={"idempotency-key": key})
        assert "idempotency-key" in error_of(response, 400, "invalid_request_error")["message"]
