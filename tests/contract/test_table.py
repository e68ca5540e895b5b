"""The table is complete: what the installed SDK can call is there, and what is not built says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anthropic

from roost.api.uploads import FIELDS, FILE
from roost.operations.table import BETA_HEADERS, OPERATOR_TABLE, TABLE, USER_TABLE
from tests.contract.conftest import HEADERS, Served, body_of

CALL = re.compile(r'self\._(get_api_list|get|post|put|patch|delete)\(\s*(?:path_template\(\s*)?f?"(/v1/[^"?]*)')
OTHER_PRODUCTS = ("/v1/messages", "/v1/organizations")
UNBUILT = [endpoint for endpoint in TABLE if endpoint.run is None]


def sdk_calls() -> set[tuple[str, str]]:
    """Method and path of every call in the source of the SDK's resources, other products left out."""
    sources = (Path(anthropic.__file__).parent / "resources").rglob("*.py")
    calls = {call for source in sources for call in CALL.findall(source.read_text(encoding="utf-8"))}
    return {
        ("GET" if verb == "get_api_list" else verb.upper(), path)
        for verb, path in calls
        if not path.startswith(OTHER_PRODUCTS)
    }


def test_every_call_of_the_sdk_is_in_the_table_once_and_nothing_else() -> None:
    rows = [(endpoint.method, endpoint.path) for endpoint in TABLE]
    assert len(rows) == len(set(rows)) == 114
    assert set(rows) == sdk_calls()


def test_names_are_unique() -> None:
    names = [endpoint.name for endpoint in (*TABLE, *USER_TABLE, *OPERATOR_TABLE)]
    assert len(names) == len(set(names))


async def test_what_is_not_built_says_so_and_is_not_retried(served: Served) -> None:
    for endpoint in UNBUILT:
        path = re.sub(r"{\w+}", "some_id", endpoint.path)
        headers = {**HEADERS, "anthropic-beta": BETA_HEADERS.get(endpoint.gate, "")}
        response = await served.http.request(endpoint.method, path, headers=headers)
        assert (response.status_code, response.headers["x-should-retry"]) == (501, "false"), endpoint.name
        error = body_of(response)["error"]
        assert (error["type"], error["details"]) == ("api_error", {"error_code": "not_implemented"})
        assert error["message"].startswith(f"{endpoint.name} ")


async def test_the_openapi_document_holds_every_call_and_its_references_lead_somewhere(served: Served) -> None:
    document = body_of(await served.http.get("/openapi.json"))
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(endpoint.method, endpoint.path) for endpoint in TABLE}
    schemas = document["components"]["schemas"]
    assert {reference.removeprefix("#/components/schemas/") for reference in references(document)} <= schemas.keys()
    assert schemas["AgentCreate"]["required"] == ["model", "name"]
    create = document["paths"]["/v1/agents"]["post"]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    reply = create["responses"]["200"]["content"]["application/json"]["schema"]
    assert (body, reply) == ({"$ref": "#/components/schemas/AgentCreate"}, {"$ref": "#/components/schemas/Agent"})
    names = [parameter["name"] for parameter in document["paths"]["/v1/sessions"]["get"]["parameters"]]
    assert {"created_at[gte]", "statuses[]", "order", "anthropic-beta"} <= set(names)


async def test_the_openapi_document_shows_the_upload_form(served: Served) -> None:
    upload = body_of(await served.http.get("/openapi.json"))["paths"]["/v1/files"]["post"]
    form = upload["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"].keys() == {FILE, *FIELDS}
    assert form["required"] == [FILE]


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in references(item)}
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own | {found for item in value.values() for found in references(item)}
    return set()
