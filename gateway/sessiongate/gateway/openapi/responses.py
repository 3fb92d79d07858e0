"""An operation's possible responses in OpenAPI: every status, its headers and its document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.http.authentication import OPEN
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.openapi.examples import DOCUMENTS, ERRORS
from sessiongate.gateway.openapi.schema import Schema, ref

# For every request, whatever it requests.
_ALWAYS = {
    400: "The query or the Host is invalid; `source` names what is at fault.",
    401: "The gateway requires credentials, and they are missing or wrong.",
    406: "Accept or Accept-Encoding excludes everything available.",
    408: "Part of the request arrived, but the rest did not arrive in time.",
    411: "The request has a body without its length.",
    413: "The request has a body, and none is accepted.",
    414: "The URL is longer than the gateway accepts.",
    415: "Content-Type is JSON:API's, with parameters that are not allowed.",
    417: "Expect asks for anything but 100-continue.",
    421: "The gateway does not answer for this Host.",
    429: "Too many wrong credentials came from this address; `Retry-After` says when to retry.",
    431: "The header is larger than the gateway accepts, or has too many lines.",
    500: "The gateway or the core failed; the log has the cause.",
    503: "The gateway or the core is overloaded, or the core is unreachable or not ready;"
    " `code` says which.",
    505: "The HTTP version is not 1.x.",
}
_GUARD = (401, 429)  # of these, the ones for callers without valid credentials
# For requests that need the core.
_CORE = {
    403: "The core does not allow this.",
    409: "The core aborted the request.",
    501: "The core does not support this.",
    502: "The core does not trust this gateway.",
    504: "The core did not answer in time.",
}
_CONDITIONAL = {412: "If-Match or If-Unmodified-Since is not met."}
_NOT_FOUND = {
    "sessions": "No session has this id.",
    "services": "No service has this name.",
    "sources": "No source has this name.",
}

HEADERS: dict[str, Schema] = {
    "Allow": {
        "description": "The allowed methods.",
        "schema": {"type": "string", "const": "GET, HEAD, OPTIONS"},
    },
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
    always = [status for status in _ALWAYS if status not in _GUARD or operation.path not in OPEN]
    if method == "options":
        allowed = {"description": "The allowed methods.", "headers": _headers("Allow")}
        return {"204": allowed, **_failures(always)}
    found: Schema = {"200": _success(operation, body=method == "get")}
    if operation.live:
        headers = _headers("ETag", "Last-Modified", "Cache-Control", "Vary")
        found["304"] = {"description": "The caller already has this response.", "headers": headers}
        found |= _failures(_CONDITIONAL)
    found |= _failures([*always, *_CORE] if operation.asks else always)
    if operation.kind is not None:
        found["404"] = _error(404, _NOT_FOUND[operation.kind])
    return dict(sorted(found.items()))


def _failures(statuses: Iterable[int]) -> Schema:
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted(statuses)
    }


def _success(operation: Operation, *, body: bool) -> Schema:
    headers = ["Cache-Control", "Content-Encoding", "Vary"]
    if operation.live:
        headers += ["ETag", "Last-Modified"]
    about = "The events." if operation.answer == "Events" else "The document."
    found: Schema = {"description": about, "headers": _headers(*headers)}
    if not body:
        return found
    content: Schema = {"schema": ref(operation.answer)}
    if operation.answer in DOCUMENTS:
        content["example"] = DOCUMENTS[operation.answer]
    found["content"] = dict.fromkeys(operation.offers, content)
    if links := _LINKS.get(operation.name):
        found["links"] = links
    return found


def _error(status: int, about: str) -> Schema:
    own = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    content: dict[str, Any] = {"schema": ref("Errors")}
    if status in ERRORS:
        content["example"] = {"errors": [ERRORS[status].members()]}
    return {
        "description": about,
        "headers": _headers("Cache-Control", "Vary", *own.get(status, ())),
        "content": {MEDIA_TYPE: content},
    }


def _headers(*names: str) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


def error_components() -> Schema:
    """Return the errors that responses refer to."""
    known = {**_ALWAYS, **_CORE, **_CONDITIONAL}
    return {f"Error{status}": _error(status, known[status]) for status in sorted(known)}


def header_components() -> Schema:
    """Return the headers that responses refer to."""
    return {name: {**HEADERS[name], "required": name in _REQUIRED} for name in HEADERS}


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
    "listServices": _links(_SERVICE_LINKS, "/data/0/id"),
    "listServicesOfSession": _links(_SERVICE_LINKS, "/data/0/id"),
    "getServicesLinkage": _links(_SERVICE_LINKS, "/data/0/id"),
}
