"""The OpenAPI document, made from the table: every call, with the schemas of those that work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from roost.operations.resource import Endpoint
from roost.operations.table import BETA_HEADERS, TABLE
from roost.wire.files import EXPIRES_S_MAX, EXPIRES_S_MIN
from roost.wire.shape import encode

_REFERENCE = "#/components/schemas/{model}"
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "expires_in_seconds": {"type": "integer", "minimum": EXPIRES_S_MIN, "maximum": EXPIRES_S_MAX},
    },
}
_ERROR = {
    "description": "An error",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_ERROR_SCHEMA = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object", "properties": {"error_code": {"type": "string"}}},
            },
        },
        "request_id": {"type": "string"},
    },
}


@cache
def document() -> bytes:
    """OpenAPI 3.1, as JSON."""
    schemas, components = _schemas(TABLE)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in TABLE:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Roost", "version": "1", "description": "The API of Claude Managed Agents, self-hosted."},
            "paths": paths,
            "components": {
                "schemas": {**components, "Error": _ERROR_SCHEMA},
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"key": []}],
        }
    )


_Schemas = Mapping[Any, Mapping[str, Any]]


def _schemas(table: Iterable[Endpoint]) -> tuple[_Schemas, Mapping[str, Any]]:
    """(reference of each model in each direction, the components they refer to)."""
    wanted: dict[tuple[Any, Any], None] = {}
    for endpoint in table:
        for kind, mode in ((endpoint.body, "validation"), (endpoint.reply, "serialization")):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                wanted[kind, mode] = None
    references, definitions = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return references, definitions.get("$defs", {})


def _operation(endpoint: Endpoint, schemas: _Schemas) -> Mapping[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint), *_gate_parameter(endpoint)],
        "responses": {"200": _success(endpoint, schemas), "default": _ERROR},
    }
    if endpoint.run is None:
        operation["responses"] = {"501": {**_ERROR, "description": "Not built in this server yet"}}
    elif endpoint.upload:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}
    elif endpoint.body is not None:
        schema = schemas[endpoint.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _success(endpoint: Endpoint, schemas: _Schemas) -> Mapping[str, Any]:
    if endpoint.reply == "events":
        return {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    if endpoint.reply is bytes:
        return {"description": "The content", "content": {"application/octet-stream": {}}}
    schema: Mapping[str, Any] = schemas.get((endpoint.reply, "serialization"), {"type": "object"})
    if endpoint.listed:
        data = {"type": "array", "items": schema}
        schema = {"type": "object", "properties": {"data": data, "next_page": {"type": ["string", "null"]}}}
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _path_parameters(endpoint: Endpoint) -> list[Mapping[str, Any]]:
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(endpoint: Endpoint) -> list[Mapping[str, Any]]:
    if endpoint.query is None:
        return []
    properties = TypeAdapter(endpoint.query).json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _gate_parameter(endpoint: Endpoint) -> list[Mapping[str, Any]]:
    if not endpoint.gate:
        return []
    schema = {"type": "string", "const": BETA_HEADERS[endpoint.gate]}
    return [{"name": "anthropic-beta", "in": "header", "required": True, "schema": schema}]
