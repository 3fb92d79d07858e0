"""An operation's possible responses in OpenAPI: every status, its headers and its document."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.path import ApiPath
from sessiongate.gateway.http.authentication import OPEN
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.openapi.errors import (
    ANY_REQUEST,
    CODES,
    CONDITIONS,
    CORE,
    CREDENTIALS,
    ERROR_GROUPS,
    NOT_FOUND,
)
from sessiongate.gateway.openapi.examples import DOCUMENTS, ERRORS
from sessiongate.gateway.openapi.schema import Schema, ref

HEADERS: dict[str, Schema] = {
    "Cache-Control": {
        "description": "`private, no-cache` if the response has a validator, else `no-store`.",
        "schema": {"type": "string", "enum": ["private, no-cache", "no-store"]},
    },
    "Content-Encoding": {
        "description": "Present if the document is compressed.",
        "schema": {"type": "string", "const": "gzip"},
    },
    "ETag": {
        "description": "The response's validator. Missing if the clock alone changes the response:"
        " with a filter or `sort` by `idle`, or with `min_idle` or `min_activity_duration`.",
        "schema": {"type": "string", "pattern": '^W/"[^"]+"$'},
    },
    "Last-Modified": {
        "description": "When the response last changed. Missing until that second has passed.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds to wait before retrying.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Vary": {
        "description": "The request headers that the response depends on.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate; one header for each supported scheme.",
        "schema": {"type": "string"},
    },
}
_REQUIRED = {"Allow", "Cache-Control", "Retry-After", "Vary", "WWW-Authenticate"}


def responses(operation: Operation, method: str) -> Schema:
    """Return a method's responses, by status."""
    always = {**ANY_REQUEST.errors}
    if operation.path not in OPEN:
        always |= CREDENTIALS.errors
    if operation.acts and method != "options":
        from sessiongate.gateway.openapi.actions import action_responses

        return action_responses(operation, failure_refs([*always, *CORE.errors]))
    if method == "options":
        allowed = {"description": "The allowed methods.", "headers": header_refs("Allow")}
        return {"204": allowed, **failure_refs(always)}
    found: Schema = {"200": _success(operation, body=method == "get")}
    if operation.live:
        headers = header_refs("ETag", "Last-Modified", "Cache-Control", "Vary")
        found["304"] = {"description": "The caller already has this response.", "headers": headers}
        found |= failure_refs(CONDITIONS.errors)
    found |= failure_refs([*always, *CORE.errors] if operation.asks else always)
    if operation.kind is not None:
        code, about = NOT_FOUND[operation.kind]
        found["404"] = described_error(404, about, {code: ""})
    return dict(sorted(found.items()))


def failure_refs(statuses: Iterable[int]) -> Schema:
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted(statuses)
    }


def _success(operation: Operation, *, body: bool) -> Schema:
    headers = ["Cache-Control", "Content-Encoding", "Vary"]
    if operation.live:
        headers += ["ETag", "Last-Modified"]
    about = "The events." if operation.answer == "Events" else "The document."
    found: Schema = {"description": about, "headers": header_refs(*headers)}
    if not body:
        return found
    content: Schema = {"schema": ref(operation.answer)}
    if operation.answer in DOCUMENTS:
        content["example"] = DOCUMENTS[operation.answer]
    found["content"] = dict.fromkeys(operation.offers, content)
    if links := _LINKS.get(operation.name):
        found["links"] = links
    return found


def described_error(status: int, about: str, codes: Mapping[str, str]) -> Schema:
    own = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    content: dict[str, Any] = {"schema": ref("Errors")}
    if status in ERRORS:
        content["example"] = {"errors": [ERRORS[status].members()]}
    return {
        "description": about,
        "headers": header_refs("Cache-Control", "Vary", *own.get(status, ())),
        "content": {MEDIA_TYPE: content},
        "x-codes": codes,  # what `code` may be, and what each means beyond the description
    }


def header_refs(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


def error_components() -> Schema:
    """Return the errors that responses refer to."""
    known = {status: about for group in ERROR_GROUPS for status, about in group.errors.items()}
    return {
        f"Error{status}": described_error(status, known[status], CODES[status])
        for status in sorted(known)
    }


def header_components(paths: Collection[ApiPath]) -> Schema:
    """Return the headers that the responses of these paths refer to."""
    values = [*dict.fromkeys(path.allow for path in paths)]
    allow: Schema = {"type": "string", "enum": values}
    if len(values) == 1:
        allow = {"type": "string", "const": values[0]}
    headers = {"Allow": {"description": "The allowed methods.", "schema": allow}, **HEADERS}
    if any(operation.acts for path in paths for operation in path.operations):
        from sessiongate.gateway.openapi.actions import ACTION_HEADERS

        headers |= ACTION_HEADERS
    return {name: {**headers[name], "required": name in _REQUIRED} for name in headers}


def _link(operation: str, about: str, ident: str) -> Schema:
    return {
        "operationId": operation,
        "description": about,
        "parameters": {"id": f"$response.body#{ident}"},
    }


_SESSION_LINKS = {
    "session": ("getSession", "This session only."),
    "linkage": ("getServicesLinkage", "The names of its services."),
    "servicesOfSession": ("listServicesOfSession", "Its services."),
}
_SERVICE_LINKS = {
    "service": ("getService", "This service only."),
    "sessionsOfService": ("listSessionsOfService", "Its sessions."),
}


def _links(kind: dict[str, tuple[str, str]], ident: str) -> Schema:
    return {name: _link(operation, about, ident) for name, (operation, about) in kind.items()}


_SERVICE_OF_SESSION = "/relationships/services/data/0/id"
# The operations that the ids in a response lead to.
_LINKS: dict[str, Schema] = {
    "listSessions": _links(_SESSION_LINKS, "/data/0/id")
    | _links(_SERVICE_LINKS, f"/data/0{_SERVICE_OF_SESSION}"),
    "listSessionsOfService": _links(_SESSION_LINKS, "/data/0/id"),
    "getSession": _links(_SERVICE_LINKS, f"/data{_SERVICE_OF_SESSION}"),
    "listPastSessions": {"session": _link("getPastSession", "This session only.", "/data/0/id")},
    "listServices": _links(_SERVICE_LINKS, "/data/0/id"),
    "listServicesOfSession": _links(_SERVICE_LINKS, "/data/0/id"),
    "getServicesLinkage": _links(_SERVICE_LINKS, "/data/0/id"),
}
