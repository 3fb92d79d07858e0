"""The one table from the core's errors to gRPC.

An error is returned as ``google.rpc.Status`` with one ``ErrorInfo`` (reason,
domain ``sessiongate``, metadata), and a ``BadRequest`` if fields of the request
are invalid (AIP-193). Clients branch on the reason, never on the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from sessiongate.core.errors import (
    MAX_VIOLATIONS,
    ActionNotAllowedError,
    ActionNotSupportedError,
    ActionRefusedError,
    AuditUnavailableError,
    CoreError,
    CoreStandbyError,
    InternalError,
    InvalidRequestError,
    LedgerUnavailableError,
    MalformedRequestError,
    NoStatementError,
    NotReadyError,
    OperatorRequiredError,
    RevisionNotHeldError,
    SessionChangedError,
    SessionNotFoundError,
    ShuttingDownError,
    SourceUnreachableError,
    TooManyActionsError,
    TooManyCallsError,
    TooManyWatchersError,
    Violation,
)
from sessiongate.runtime.auth.identity import (
    ExpiredCredentialsError,
    MissingCredentialsError,
    Refusal,
    TooManyAttemptsError,
    WrongCredentialsError,
)
from sessiongate.v1.errors import ERROR_DOMAIN, STATUS_TRAILER, Reason

# Bytes. gRPC sends an error in trailing metadata, and replaces it with RESOURCE_EXHAUSTED
# if it exceeds 8 KiB there. On the wire a text may take three times its size, details four
# thirds.
MAX_TEXT = 512  # of the error

MAX_DETAIL = 200  # of each text of its details

MAX_DETAILS = 3072  # of all violations


@dataclass(frozen=True, slots=True)
class StatusMapping:
    """The code and the reason of a class of errors."""

    code: grpc.StatusCode
    reason: Reason


STATUS_MAPPINGS: Mapping[type[CoreError | Refusal], StatusMapping] = {
    SessionNotFoundError: StatusMapping(grpc.StatusCode.NOT_FOUND, Reason.SESSION_NOT_FOUND),
    SourceUnreachableError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.SOURCE_UNREACHABLE),
    LedgerUnavailableError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.LEDGER_UNAVAILABLE),
    CoreStandbyError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.CORE_STANDBY),
    NotReadyError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.NOT_READY),
    RevisionNotHeldError: StatusMapping(grpc.StatusCode.OUT_OF_RANGE, Reason.REVISION_NOT_HELD),
    TooManyWatchersError: StatusMapping(
        grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_WATCHERS
    ),
    ShuttingDownError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN),
    TooManyCallsError: StatusMapping(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_CALLS),
    OperatorRequiredError: StatusMapping(
        grpc.StatusCode.PERMISSION_DENIED, Reason.OPERATOR_REQUIRED
    ),
    ActionNotSupportedError: StatusMapping(
        grpc.StatusCode.UNIMPLEMENTED, Reason.ACTION_NOT_SUPPORTED
    ),
    ActionNotAllowedError: StatusMapping(
        grpc.StatusCode.PERMISSION_DENIED, Reason.ACTION_NOT_ALLOWED
    ),
    ActionRefusedError: StatusMapping(grpc.StatusCode.PERMISSION_DENIED, Reason.ACTION_REFUSED),
    AuditUnavailableError: StatusMapping(grpc.StatusCode.UNAVAILABLE, Reason.AUDIT_UNAVAILABLE),
    SessionChangedError: StatusMapping(grpc.StatusCode.ABORTED, Reason.SESSION_CHANGED),
    NoStatementError: StatusMapping(grpc.StatusCode.FAILED_PRECONDITION, Reason.NO_STATEMENT),
    TooManyActionsError: StatusMapping(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_ACTIONS),
    InvalidRequestError: StatusMapping(grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_REQUEST),
    MalformedRequestError: StatusMapping(
        grpc.StatusCode.INVALID_ARGUMENT, Reason.MALFORMED_REQUEST
    ),
    InternalError: StatusMapping(grpc.StatusCode.INTERNAL, Reason.INTERNAL),
    MissingCredentialsError: StatusMapping(
        grpc.StatusCode.UNAUTHENTICATED, MissingCredentialsError.reason
    ),
    WrongCredentialsError: StatusMapping(
        grpc.StatusCode.UNAUTHENTICATED, WrongCredentialsError.reason
    ),
    ExpiredCredentialsError: StatusMapping(
        grpc.StatusCode.UNAUTHENTICATED, ExpiredCredentialsError.reason
    ),
    TooManyAttemptsError: StatusMapping(
        grpc.StatusCode.RESOURCE_EXHAUSTED, TooManyAttemptsError.reason
    ),
}


async def abort(
    context: grpc.aio.ServicerContext[Any, Any], error: CoreError | Refusal
) -> NoReturn:
    """End a call with an error."""
    status = status_of(error)
    await context.abort(
        STATUS_MAPPINGS[type(error)].code,
        status.message,
        trailing_metadata=((STATUS_TRAILER, status.SerializeToString()),),
    )
    raise AssertionError("abort returned")


def status_of(error: CoreError | Refusal) -> Status:
    """Return the error as ``google.rpc.Status`` with details, cut to what gRPC can send."""
    answer = STATUS_MAPPINGS[type(error)]
    code: int = answer.code.value[0]
    status = Status(code=code, message=_cut(str(error), MAX_TEXT))
    metadata = error.metadata if isinstance(error, CoreError) else {}
    metadata = {name: _cut(text, MAX_DETAIL) for name, text in metadata.items()}
    details: list[Message] = [
        ErrorInfo(reason=answer.reason, domain=ERROR_DOMAIN, metadata=metadata)
    ]
    if isinstance(error, InvalidRequestError):
        details.append(_bad_request(error.violations))
    if isinstance(error, TooManyAttemptsError):
        details.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after)))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _bad_request(violations: Sequence[Violation]) -> BadRequest:
    """Return as many violations as fit; if there are more, the last one says so."""
    bad = BadRequest()
    room = MAX_DETAILS
    for violation in violations:
        field, text = _cut(violation.field, MAX_DETAIL), _cut(violation.description, MAX_DETAIL)
        room -= len(field.encode()) + len(text.encode()) + _VIOLATION_OVERHEAD
        if room < 0 or len(bad.field_violations) == MAX_VIOLATIONS - 1:
            text = "this violation and further ones are omitted; fix the others first"
            bad.field_violations.add(field=field, description=text)
            break
        bad.field_violations.add(field=field, description=text)
    return bad


_VIOLATION_OVERHEAD = 10  # bytes, at most, of tags and lengths


def _cut(text: str, size: int) -> str:
    """Cut a text to ``size`` bytes of UTF-8."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - len("…".encode())].decode(errors="ignore") + "…"
