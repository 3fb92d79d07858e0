"""An operation's possible answers in OpenAPI: every status, its headers and its document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.http.authentication import OPEN
from sessiongate.gateway.jsonapi.document import MEDIA_TYPE
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.openapi.examples import DOCUMENTS, ERRORS
from sessiongate.gateway.openapi.schemas import Schema, ref

_EVENTS: Schema = {
    "schema": {
        "type": "string",
        "description": "Server-sent events: a snapshot, `sync`, then what changes.",
    }
}

# For every request, whatever it asks for.
_ALWAYS = {
    400: "The query or the Host is wrong; `source` says what of it.",
    401: "Credentials are needed, where the gateway asks for them, or they are wrong.",
    406: "Accept or Accept-Encoding excludes all that there is.",
    408: "A part of the request came, and the rest not in time.",
    411: "A body comes without its length.",
    413: "A body: no operation takes one.",
    414: "The URL is longer than the gateway takes.",
    415: "Content-Type is JSON:API's with parameters that it must not have.",
    417: "Expect asks for anything but 100-continue.",
    421: "The Host is not one that the gateway answers for.",
    429: "Too many wrong credentials came from this address; `Retry-After` says when to try.",
    431: "The header is longer than the gateway takes, or has too many lines.",
    500: "The gateway or the core failed; the log has the cause.",
    503: "There is too much to do just now, or the core cannot be reached or is not ready.",
    505: "The version of HTTP is none of 1.",
}
_GUARD = (401, 429)  # of these, the ones for callers who may not ask
# For requests that need the core.
_CORE = {
    403: "The core does not allow this.",
    409: "The core gave the request up.",
    501: "The core cannot do this.",
    502: "The core does not trust this gateway.",
    504: "The core did not answer in time.",
}
_CONDITIONAL = {412: "If-Match or If-Unmodified-Since does not hold."}
_NOT_FOUND = {
    "sessions": "There is no such session.",
    "services": "There is no such service.",
    "sources": "There is no such source.",
}

HEADERS: dict[str, Schema] = {
    "Allow": {
        "description": "The methods that there are.",
        "schema": {"type": "string", "const": "GET, HEAD, OPTIONS"},
    },
    "Cache-Control": {
        "description": "`private, no-cache` where there is a validator to ask again with.",
        "schema": {"type": "string", "enum": ["private, no-cache", "no-store"]},
    },
    "Content-Encoding": {
        "description": "There where the document is compressed.",
        "schema": {"type": "string", "const": "gzip"},
    },
    "ETag": {
        "description": "The answer's validator. It is missing where the clock alone changes the"
        " answer: a filter or an order by `idle`.",
        "schema": {"type": "string", "pattern": '^W/"[^"]+"$'},
    },
    "Last-Modified": {
        "description": "When anything of the answer last changed, once that second has passed.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "Vary": {
        "description": "What of the request the answer depends on.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {
        "description": "How to show who asks; once for each way.",
        "schema": {"type": "string"},
    },
}
_REQUIRED = {"Allow", "Cache-Control", "Retry-After", "Vary", "WWW-Authenticate"}


def responses(operation: Operation, method: str) -> Schema:
    """Return the answers to a method, by status."""
    always = [status for status in _ALWAYS if status not in _GUARD or operation.path not in OPEN]
    if method == "options":
        allowed = {"description": "What may be asked.", "headers": _headers("Allow")}
        return {"204": allowed, **_failures(always)}
    found: Schema = {"200": _success(operation, body=method == "get")}
    if operation.live:
        headers = _headers("ETag", "Last-Modified", "Cache-Control", "Vary")
        found["304"] = {"description": "The caller has this answer already.", "headers": headers}
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
    found: Schema = {"description": "The document.", "headers": _headers(*headers)}
    if not body:
        return found
    content: Schema = {"schema": ref(operation.answer)}
    if operation.answer in DOCUMENTS:
        content["example"] = DOCUMENTS[operation.answer]
    found["content"] = {
        offer: _EVENTS if offer == EVENT_STREAM else content for offer in operation.offers
    }
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
    """Return the errors that answers refer to."""
    known = {**_ALWAYS, **_CORE, **_CONDITIONAL}
    return {f"Error{status}": _error(status, known[status]) for status in sorted(known)}


def header_components() -> Schema:
    """Return the headers that answers refer to."""
    return {name: {**HEADERS[name], "required": name in _REQUIRED} for name in HEADERS}


def _link(operation: str, about: str, ident: str) -> Schema:
    return {
        "operationId": operation,
        "description": about,
        "parameters": {"id": f"$response.body#{ident}"},
    }


_SESSION_LINKS = {
    "session": ("getSession", "The session alone."),
    "linkage": ("getServicesLinkage", "Its services' names."),
    "servicesOfSession": ("listServicesOfSession", "Its services."),
}
_SERVICE_LINKS = {
    "service": ("getService", "The service alone."),
    "sessionsOfService": ("listSessionsOfService", "Its sessions."),
}


def _links(kind: dict[str, tuple[str, str]], ident: str) -> Schema:
    return {name: _link(operation, about, ident) for name, (operation, about) in kind.items()}


_SERVICE_OF_SESSION = "/relationships/services/data/0/id"
# The operations that an answer's ids lead to.
_LINKS: dict[str, Schema] = {
    "listSessions": _links(_SESSION_LINKS, "/data/0/id")
    | _links(_SERVICE_LINKS, f"/data/0{_SERVICE_OF_SESSION}"),
    "listSessionsOfService": _links(_SESSION_LINKS, "/data/0/id"),
    "getSession": _links(_SERVICE_LINKS, f"/data{_SERVICE_OF_SESSION}"),
    "listServices": _links(_SERVICE_LINKS, "/data/0/id"),
    "listServicesOfSession": _links(_SERVICE_LINKS, "/data/0/id"),
    "getServicesLinkage": _links(_SERVICE_LINKS, "/data/0/id"),
}
