"""Errors for callers if the core fails: the only table from gRPC to HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from sessiongate.client.errors import CallError
from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.runtime.auth.identity import Refusal
from sessiongate.v1.errors import Reason

RETRY_AFTER = {"Retry-After": "1"}  # seconds; with every 503


@dataclass(frozen=True, slots=True)
class HttpMapping:
    """The response to a gRPC status. ``detail`` is used if the core gave no reason."""

    status: int
    detail: str


_FAILED = "the core failed to answer"
_REFUSED = "the core refused the request"

HTTP_MAPPINGS: Mapping[grpc.StatusCode, HttpMapping] = {
    grpc.StatusCode.CANCELLED: HttpMapping(503, "the core cancelled the request"),
    grpc.StatusCode.UNKNOWN: HttpMapping(500, _FAILED),
    grpc.StatusCode.INVALID_ARGUMENT: HttpMapping(400, _REFUSED),
    grpc.StatusCode.DEADLINE_EXCEEDED: HttpMapping(504, "the core did not answer in time"),
    grpc.StatusCode.NOT_FOUND: HttpMapping(404, "the core did not find the resource"),
    grpc.StatusCode.ALREADY_EXISTS: HttpMapping(409, _REFUSED),
    grpc.StatusCode.PERMISSION_DENIED: HttpMapping(403, "the core does not allow this"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: HttpMapping(503, "the core is overloaded"),
    grpc.StatusCode.FAILED_PRECONDITION: HttpMapping(400, _REFUSED),
    grpc.StatusCode.ABORTED: HttpMapping(409, "the core aborted the request"),
    grpc.StatusCode.OUT_OF_RANGE: HttpMapping(400, _REFUSED),
    grpc.StatusCode.UNIMPLEMENTED: HttpMapping(501, "the core does not support this"),
    grpc.StatusCode.INTERNAL: HttpMapping(500, _FAILED),
    grpc.StatusCode.UNAVAILABLE: HttpMapping(503, "the core cannot be reached"),
    grpc.StatusCode.DATA_LOSS: HttpMapping(500, _FAILED),
    # Not 401: the core does not trust this gateway, whoever the caller is.
    grpc.StatusCode.UNAUTHENTICATED: HttpMapping(502, "the core does not trust this gateway"),
}

# The statuses of reasons for which HTTP has a better one than the code's.
_STATUSES: Mapping[str, int] = {Reason.NO_STATEMENT: 409, Reason.TOO_MANY_ACTIONS: 429}


def error_of(failure: CallError) -> Error:
    """Return a failed call as a JSON:API error, with the core's reason and text if given."""
    answer = HTTP_MAPPINGS[failure.code]
    if failure.reason is None or failure.code is grpc.StatusCode.UNAUTHENTICATED:
        # The text is gRPC's own, which names addresses, or concerns this gateway's
        # credentials, which the caller would take for its own.
        return Error(answer.status, failure.code.name, answer.detail)
    status = _STATUSES.get(failure.reason, answer.status)
    return Error(status, failure.reason, str(failure))


def headers_of(failure: CallError, status: int) -> Mapping[str, str] | None:
    """Return the headers of the response to a failed call, given its status."""
    if status == 429:
        seconds = failure.metadata.get("retry_after", "")
        return {"Retry-After": seconds} if seconds.isdigit() else RETRY_AFTER
    return RETRY_AFTER if status == 503 else None


def refused(refusal: Refusal) -> Error:
    """Return the 401 error for a caller without valid credentials."""
    return Error(401, refusal.reason, str(refusal), header="Authorization")
