"""What a caller is told when the core fails: the one table from gRPC to HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.gateway.upstream.client import CoreError
from sessiongate.runtime.auth.identity import Refusal

RETRY_AFTER = {"Retry-After": "1"}  # seconds; with every 503


@dataclass(frozen=True, slots=True)
class Answer:
    """How a gRPC status is answered. ``detail`` stands in where the core gave no reason."""

    status: int
    detail: str


_FAILED = "the core failed to answer"
_REFUSED = "the core refused the request"

ANSWERS: Mapping[grpc.StatusCode, Answer] = {
    grpc.StatusCode.CANCELLED: Answer(503, "the core gave the request up"),
    grpc.StatusCode.UNKNOWN: Answer(500, _FAILED),
    grpc.StatusCode.INVALID_ARGUMENT: Answer(400, _REFUSED),
    grpc.StatusCode.DEADLINE_EXCEEDED: Answer(504, "the core did not answer in time"),
    grpc.StatusCode.NOT_FOUND: Answer(404, "the core does not know this"),
    grpc.StatusCode.ALREADY_EXISTS: Answer(409, _REFUSED),
    grpc.StatusCode.PERMISSION_DENIED: Answer(403, "the core does not allow this"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: Answer(503, "the core has too much to do"),
    grpc.StatusCode.FAILED_PRECONDITION: Answer(400, _REFUSED),
    grpc.StatusCode.ABORTED: Answer(409, "the core gave the request up"),
    grpc.StatusCode.OUT_OF_RANGE: Answer(400, _REFUSED),
    grpc.StatusCode.UNIMPLEMENTED: Answer(501, "the core cannot do this"),
    grpc.StatusCode.INTERNAL: Answer(500, _FAILED),
    grpc.StatusCode.UNAVAILABLE: Answer(503, "the core cannot be reached"),
    grpc.StatusCode.DATA_LOSS: Answer(500, _FAILED),
    # Not 401: it is this gateway that the core does not trust, not the caller.
    grpc.StatusCode.UNAUTHENTICATED: Answer(502, "the core does not trust this gateway"),
}


def error_of(failure: CoreError) -> Error:
    """A failed call as a JSON:API error: the core's reason and text, where it gave them."""
    answer = ANSWERS[failure.code]
    if failure.reason is None or failure.code is grpc.StatusCode.UNAUTHENTICATED:
        # The text is then gRPC's own, which names addresses, or is about this gateway's
        # credentials, which the caller would take for its own.
        return Error(answer.status, failure.code.name, answer.detail)
    return Error(answer.status, failure.reason, str(failure))


def refused(refusal: Refusal) -> Error:
    """What one is told who may not ask: 401."""
    return Error(401, refusal.reason, str(refusal), header="Authorization")


def may_pass(failure: CoreError) -> bool:
    """Whether to ask again may help: the core is away, starts, or has too much to do."""
    return ANSWERS[failure.code].status in (503, 504)
