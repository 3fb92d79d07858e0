"""Describes the operations that act on sessions, in OpenAPI: their parameters and responses."""

from __future__ import annotations

from collections.abc import Mapping

from sessiongate.gateway.api.actions import MAX_TTL, TTL
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.openapi.errors import CODES, NOT_FOUND
from sessiongate.gateway.openapi.parameters import header_parameter
from sessiongate.gateway.openapi.responses import described_error, header_refs
from sessiongate.gateway.openapi.schema import Schema, query_parameter
from sessiongate.v1.errors import Reason

ACTION_HEADERS: dict[str, Schema] = {
    "Link": {
        "description": "The sessions at the other ends of the same connection, as `related`;"
        " `title` is `upstream` or `downstream`, at most ten of each. Missing if there are none.",
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "The session.",
        "schema": {"type": "string", "format": "uri"},
    },
}
_TAG = 'W/"1f-1c-00c0ffee00c0ffee"'
_SEEN = {
    "DELETE": "Returns 412 unless one of these is an ETag of the session as it still is: of the"
    " same user, client, service, database and `connected`, whatever it does meanwhile.",
    "POST": "Returns 412 unless one of these is the ETag of the session as it still is, in every"
    " respect.",
}
_DONE = {
    "DELETE": (
        "It has ended: its source was read again and no longer lists it, and it is not found any"
        " more.",
        "It was ended, or is to be once `ttl` is over, but it is not known to have ended yet.",
    ),
    "POST": (
        "The statement has ended: its source was read again.",
        "The statement was cancelled, but is not known to have ended yet.",
    ),
}
_CHANGED: Mapping[str, str] = {
    Reason.SESSION_CHANGED: "The session, or its statement, is not the one that it was."
}


def action_parameters(operation: Operation) -> list[Schema]:
    """Return the parameters that no other operation has."""
    found = []
    if TTL in operation.takes.texts:
        schema: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_TTL}
        about = "Seconds to wait before it is ended, unless it ends by itself."
        found.append(query_parameter(TTL, schema, about, 5))
    return [*found, header_parameter("If-Match", _SEEN[operation.method], _TAG)]


def action_responses(operation: Operation, others: Schema) -> Schema:
    """Return the responses, with those that it may have like ``others``."""
    done, begun = _DONE[operation.method]
    code, about = NOT_FOUND["sessions"]
    conflicts = {**CODES[409], **_CHANGED}
    if operation.method == "POST":
        conflicts[Reason.NO_STATEMENT] = "The session runs no statement that could be cancelled."
    errors: dict[int, tuple[str, Mapping[str, str]]] = {
        403: (
            "You may not do this, or the source may not.",
            {
                Reason.OPERATOR_REQUIRED: "You do not have the role of an operator.",
                Reason.ACTION_NOT_ALLOWED: "The source's configuration does not allow it.",
                Reason.ACTION_REFUSED: "The server refuses it to the user that acts for the core.",
                "OTHER_ORIGIN": "A page of another origin sent the request.",
                **CODES[403],
            },
        ),
        404: (about, {code: ""}),
        409: ("The session changed meanwhile.", conflicts),
        412: ("If-Match is not met.", _CHANGED),
        429: (
            "There were too many actions, or too many wrong credentials; `Retry-After` says when"
            " to retry.",
            {Reason.TOO_MANY_ACTIONS: "", **CODES[429]},
        ),
        501: (
            "The source's kind or version cannot do this, or the core allows no actions.",
            {
                Reason.ACTION_NOT_SUPPORTED: "No act on a session of this source would be sure to"
                " hit no other.",
                **CODES[501],
            },
        ),
        503: (
            "The source is unreachable and nothing was done; or the gateway or the core is"
            " overloaded, or the core is unreachable or not ready. `code` says which.",
            {
                **CODES[503],
                Reason.SOURCE_UNREACHABLE: "The source cannot be reached.",
                Reason.AUDIT_UNAVAILABLE: "The core cannot write its audit log.",
            },
        ),
    }
    if operation.method == "POST":
        text = "Content-Type is not `application/vnd.api+json`, or has other parameters."
        errors[415] = (text, CODES[415])
    found = {
        **others,
        "202": {
            "description": begun,
            "headers": header_refs("Cache-Control", "Link", "Location"),
        },
        "204": {"description": done, "headers": header_refs("Cache-Control", "Link")},
        **{str(status): described_error(status, *error) for status, error in errors.items()},
    }
    return dict(sorted(found.items()))
