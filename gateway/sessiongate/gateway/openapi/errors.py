"""The errors that requests may get: each status, what it means, and its codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class ErrorGroup(NamedTuple):
    """Errors that the same operations have, by status."""

    name: str
    title: str
    errors: Mapping[int, str]


ANY_REQUEST = ErrorGroup(
    "any-request",
    "Any request",
    {
        400: "The query or the Host is invalid; `source` names what is at fault.",
        406: "Accept or Accept-Encoding excludes everything available.",
        408: "Part of the request arrived, but the rest did not within `--header-timeout`.",
        411: "The request has a body without its length.",
        413: "The request has a body, and none is accepted.",
        414: "The path and the query are longer than `--max-url`.",
        415: "Content-Type is JSON:API's, with parameters that are not allowed.",
        417: "Expect asks for anything but 100-continue.",
        421: "The gateway does not answer for this Host; `--allowed-host` adds one.",
        431: "The header is larger than `--max-headers`, or has more than 100 lines.",
        500: "The gateway or the core failed; the log has the cause.",
        503: "The gateway or the core is overloaded, or the core is unreachable or not ready;"
        " `code` says which.",
        505: "The HTTP version is not 1.x.",
    },
)
CREDENTIALS = ErrorGroup(
    "credentials",
    "Credentials",
    {
        401: "The gateway requires credentials, and they are missing or wrong.",
        429: "Too many wrong credentials came from this address; `Retry-After` says when to retry.",
    },
)
CORE = ErrorGroup(
    "core",
    "Requests to the core",
    {
        403: "The core does not allow this.",
        409: "The core aborted the request.",
        501: "The core does not support this.",
        502: "The core does not trust this gateway.",
        504: "The core did not answer within `--core-timeout`.",
    },
)
CONDITIONS = ErrorGroup(
    "conditions",
    "Conditional requests",
    {412: "If-Match or If-Unmodified-Since is not met."},
)
ERROR_GROUPS = (ANY_REQUEST, CREDENTIALS, CONDITIONS, CORE)

NOT_FOUND: Mapping[str, tuple[str, str]] = {
    # By kind: the code, and what it means.
    "sessions": ("SESSION_NOT_FOUND", "No session has this id."),
    "services": ("SERVICE_NOT_FOUND", "No service has this name."),
    "sources": ("SOURCE_NOT_FOUND", "No source has this name."),
}

# The codes of each status, on which programs branch. The text is empty if it is the status's. If
# the core gives no reason, the code is its gRPC status: of these, only the likely ones are here.
CODES: Mapping[int, Mapping[str, str]] = {
    400: {
        "INVALID_PARAMETER": "A parameter is unknown here, is given twice, names what does not"
        " exist, or has a bad value.",
        "MAX_PAGE_SIZE_EXCEEDED": "`page[size]` is too large.",
        "RANGE_PAGINATION_NOT_SUPPORTED": "`page[after]` and `page[before]` are used together.",
        "UNSUPPORTED_SORT": "Pages by cursor are requested in an order other than by id.",
        "ANSWER_TOO_LARGE": "More sessions than `--max-answer` are requested at once: request"
        " pages.",
        "INVALID_HEADER": "A header that must be a number is not, or a condition is not evaluated"
        " here.",
        "MALFORMED_REQUEST": "This is not an HTTP/1.1 request; HTTP/2 is not supported.",
        "TLS_REQUIRED": "The port requires TLS, and the request came without it: use `https://`.",
        "INVALID_HOST": "The request does not have exactly one valid Host.",
        "INVALID_REQUEST": "The core refuses the request.",
    },
    401: {
        "CREDENTIALS_MISSING": "The request has no credentials.",
        "CREDENTIALS_WRONG": "The name, the password or the token is wrong.",
        "CREDENTIALS_EXPIRED": "The token has expired.",
    },
    403: {"PERMISSION_DENIED": ""},
    406: {"NOT_ACCEPTABLE": ""},
    408: {"HEADER_TIMEOUT": ""},
    409: {"ABORTED": "", "ALREADY_EXISTS": ""},
    411: {"LENGTH_REQUIRED": ""},
    412: {"PRECONDITION_FAILED": ""},
    413: {"BODY_TOO_LARGE": ""},
    414: {"URL_TOO_LONG": ""},
    415: {"UNSUPPORTED_MEDIA_TYPE": ""},
    417: {"EXPECTATION_FAILED": ""},
    421: {"UNKNOWN_HOST": ""},
    429: {"TOO_MANY_ATTEMPTS": ""},
    431: {"HEADER_TOO_LARGE": ""},
    500: {"INTERNAL": ""},
    501: {
        "UNIMPLEMENTED": "The core does not support the call.",
        "UNKNOWN_METHOD": "HTTP has no such method; methods are upper case.",
    },
    502: {"UNAUTHENTICATED": ""},
    503: {
        "NOT_READY": "Some sources have neither been read nor failed yet.",
        "CORE_STANDBY": "The core stands by: another one is active for its sources.",
        "SOURCE_UNREACHABLE": "A source has not been read yet, so it is not known whether it has"
        " the session.",
        "LEDGER_UNAVAILABLE": "The core cannot read its ledger, which has the past.",
        "UNAVAILABLE": "The core cannot be reached.",
        "OVERLOADED": "The gateway has as many requests, or as much to send, as it can hold.",
        "REQUEST_TIMEOUT": "The response took longer than `--request-timeout`.",
        "TOO_MANY_STREAMS": "There are as many event streams as `--max-streams` allows.",
        "CORE_BUSY": "Too many requests wait for the core.",
        "TOO_MANY_CALLS": "The core has too many calls.",
        "TOO_MANY_WATCHERS": "The core has too many watchers.",
        "SHUTTING_DOWN": "The gateway or the core is stopping; ask again.",
    },
    504: {"DEADLINE_EXCEEDED": ""},
    505: {"VERSION_NOT_SUPPORTED": ""},
}
