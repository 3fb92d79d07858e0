"""The API's description in OpenAPI 3.1, generated from the routed operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.path import ApiPath, by_path
from sessiongate.gateway.http.authentication import OPEN
from sessiongate.gateway.openapi.parameters import parameters
from sessiongate.gateway.openapi.responses import error_components, header_components, responses
from sessiongate.gateway.openapi.schema import Schema
from sessiongate.gateway.openapi.schemas import SCHEMAS, VERSION

_ABOUT = (
    "Shows who is connected to your databases and proxies right now, to what, and since when,"
    " in the JSON:API documents that MaxScale documents for its sessions. The prefix `/v1` and"
    " the trailing slash are optional. Every error is a JSON:API document."
)
_HEAD = "Return the same response, without its document."
_ANY: Schema = {"type": "string", "minLength": 1}  # OPTIONS does not look it up
_OPTIONS = "Return the allowed methods."

TAGS = {
    "sessions": "Client connections, and what is known about each.",
    "services": "The services that sessions are on.",
    "counts": "Counts of sessions that have something in common.",
    "sources": "The sources that sessions are read from.",
    "maxscale": "What MaxScale reports about itself, for its clients.",
    "api": "The API itself, and whether it can answer requests.",
}


def describe(operations: Iterable[Operation], base: str) -> Schema:
    """Return the whole description; ``base`` starts every URL and has no trailing slash."""
    shared: Schema = {}
    paths = by_path(operations)
    described = {path.path: _path(path, shared) for path in paths}
    return {
        "openapi": VERSION,
        "info": {
            "title": "Sessiongate",
            "version": version("sessiongate"),
            "description": _ABOUT,
            "contact": {"name": "Whoever operates this server"},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base}],
        "security": [{}, {"basic": []}, {"bearer": []}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": described,
        "components": {
            "schemas": SCHEMAS,
            "parameters": shared,
            "headers": header_components(paths),
            "responses": error_components(),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _path(path: ApiPath, shared: Schema) -> Schema:
    found = {
        method.lower(): _operation(operation, method.lower(), shared)
        for operation in path.operations
        for method in operation.methods
    }
    return {**found, "options": _operation(path.operations[0], "options", shared)}


def _operation(operation: Operation, method: str, shared: Schema) -> Schema:
    name, about = operation.name, operation.description
    allowed = parameters(operation)
    if method == "head":
        name, about = f"{name}Head", _HEAD
    elif method == "options":
        name, about = f"{name}Options", _OPTIONS
        allowed = [{**found, "schema": _ANY} for found in allowed if found["in"] == "path"]
    found: Schema = {
        "operationId": name,
        "summary": operation.summary,
        "description": about,
        "tags": [operation.tag],
        "parameters": [_shared(found, shared) for found in allowed],
        "responses": responses(operation, method),
    }
    if operation.path in OPEN:
        found["security"] = []
    return found


def _shared(parameter: Schema, shared: Schema) -> Schema:
    """Return a reference to a parameter, or the parameter itself if its name is taken."""
    key = re.sub(r"\W", "-", parameter["name"]).strip("-")
    if shared.setdefault(key, parameter) != parameter:
        return parameter
    return {"$ref": f"#/components/parameters/{key}"}
