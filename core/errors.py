"""What may go wrong in the core, and the one table from there to gRPC.

An error is answered as ``google.rpc.Status`` with one ``ErrorInfo`` (reason,
domain ``sessiongate``, metadata), and a ``BadRequest`` where fields of the
request are to blame (AIP-193). Clients branch on the reason, never on the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from runtime.identity import (
    ExpiredCredentialsError,
    MissingCredentialsError,
    Refusal,
    TooManyAttemptsError,
    WrongCredentialsError,
)

DOMAIN = "sessiongate"
STATUS_TRAILER = "grpc-status-details-bin"


class CoreError(Exception):
    """An error that the caller is told of. Each kind stands in `ANSWERS`."""

    def __init__(self, text: str, **metadata: str) -> None:
        super().__init__(text)
        self.metadata = metadata


class SessionNotFoundError(CoreError):
    """No session has this id."""


class SourceUnreachableError(CoreError):
    """The source that last had this session cannot be read: it may live or not."""


class NotReadyError(CoreError):
    """Some source has neither answered nor failed since the core started."""


class RevisionNotHeldError(CoreError):
    """The log of changes does not begin early enough, or has not come so far."""


class TooManyWatchersError(CoreError):
    """The caller has as many streams open as one may."""


class ShuttingDownError(CoreError):
    """The core is about to end; another one may follow."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong: its path, and what is wrong and allowed."""

    field: str
    description: str


class InvalidRequestError(CoreError):
    """One or more fields of the request are wrong; all of them are named."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = violations


class MalformedRequestError(CoreError):
    """What was sent is not the message that the method takes."""


class InternalError(CoreError):
    """Something that should not happen did. The cause is in the log only."""

    def __init__(self) -> None:
        super().__init__("the core failed to answer; its log has the cause")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a kind of error looks on the wire."""

    code: grpc.StatusCode
    reason: str


ANSWERS: Mapping[type[CoreError | Refusal], Answer] = {
    SessionNotFoundError: Answer(grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND"),
    SourceUnreachableError: Answer(grpc.StatusCode.UNAVAILABLE, "SOURCE_UNREACHABLE"),
    NotReadyError: Answer(grpc.StatusCode.UNAVAILABLE, "NOT_READY"),
    RevisionNotHeldError: Answer(grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD"),
    TooManyWatchersError: Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS"),
    ShuttingDownError: Answer(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN"),
    InvalidRequestError: Answer(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    MalformedRequestError: Answer(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    InternalError: Answer(grpc.StatusCode.INTERNAL, "INTERNAL"),
    MissingCredentialsError: Answer(
        grpc.StatusCode.UNAUTHENTICATED, MissingCredentialsError.reason
    ),
    WrongCredentialsError: Answer(grpc.StatusCode.UNAUTHENTICATED, WrongCredentialsError.reason),
    ExpiredCredentialsError: Answer(
        grpc.StatusCode.UNAUTHENTICATED, ExpiredCredentialsError.reason
    ),
    TooManyAttemptsError: Answer(grpc.StatusCode.RESOURCE_EXHAUSTED, TooManyAttemptsError.reason),
}


async def abort(
    context: grpc.aio.ServicerContext[Any, Any], error: CoreError | Refusal
) -> NoReturn:
    """End a call with an error."""
    details = status_of(error).SerializeToString()
    await context.abort(
        ANSWERS[type(error)].code, str(error), trailing_metadata=((STATUS_TRAILER, details),)
    )
    raise AssertionError("abort returned")


def status_of(error: CoreError | Refusal) -> Status:
    """The error as ``google.rpc.Status``, with its details."""
    answer = ANSWERS[type(error)]
    code: int = answer.code.value[0]
    status = Status(code=code, message=str(error))
    metadata = error.metadata if isinstance(error, CoreError) else {}
    details: list[Message] = [ErrorInfo(reason=answer.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, InvalidRequestError):
        bad = BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        details.append(bad)
    if isinstance(error, TooManyAttemptsError):
        details.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after)))
    for detail in details:
        status.details.add().Pack(detail)
    return status
