"""Checks every answer that a test receives against the description: it declares every member.

The description leaves objects open, since they may get members one day. Here they are closed:
a member that its schema does not name is a fault, unless the schema calls the object a map.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import httpx
from jsonschema_rs import Draft202012Validator
from starlette.routing import Match

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.path import by_path
from sessiongate.gateway.http.normalize_path import routed
from sessiongate.gateway.openapi.schemas import SCHEMAS

_JSON = ("application/vnd.api+json", "application/json")
_ROUTES = [(path.route(), path.operations[0]) for path in by_path(OPERATIONS)]


def check_declared(answer: httpx.Response) -> None:
    """Fail if an answer does not match its schema; for a client's event hooks."""
    if _is_json(answer):
        _check(answer, json.loads(answer.read()))


async def check_declared_async(answer: httpx.Response) -> None:
    """Do the same for asynchronous clients."""
    if _is_json(answer):
        _check(answer, json.loads(await answer.aread()))


def _is_json(answer: httpx.Response) -> bool:
    content_type: str = answer.headers.get("content-type", "")
    return answer.request.method != "HEAD" and content_type.partition(";")[0] in _JSON


def _check(answer: httpx.Response, document: Any) -> None:
    operation = operation_at(answer.request.url)
    failed = operation is None or answer.is_error
    _validator("Errors" if failed or operation is None else operation.answer).validate(document)


def operation_at(url: httpx.URL) -> Operation | None:
    """Return the operation at a URL, or None if the API does not have the path."""
    path = routed(url.raw_path.partition(b"?")[0].decode("latin-1"))
    scope = {"type": "http", "method": "GET", "path": path}
    for route, operation in _ROUTES:
        if route.matches(scope)[0] is not Match.NONE:
            return operation
    return None


@cache
def _validator(name: str) -> Draft202012Validator:
    components = {"components": {"schemas": _closed(SCHEMAS)}}
    return Draft202012Validator({**components, "$ref": f"#/components/schemas/{name}"})


def _closed(schema: Any) -> Any:
    """Return a copy of a schema whose objects have only the members that it names."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(part) for name, part in schema.items()}
    return {"additionalProperties": False, **made} if schema.get("type") == "object" else made
