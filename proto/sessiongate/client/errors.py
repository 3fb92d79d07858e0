"""The error of a call that failed."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.v1.errors import ERROR_DOMAIN, STATUS_TRAILER

_TRANSIENT = frozenset(
    (
        grpc.StatusCode.CANCELLED,  # by the core: a caller's own cancellation is not an error
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
    )
)


class CallError(Exception):
    """A call to the core failed.

    ``code`` is the gRPC status. ``reason`` is the core's own word for the cause, one of
    `Reason` or of a later version, and the text is then the core's text for callers. ``reason``
    is None if the core gave none: it was not reached, or it is not a core.
    """

    def __init__(self, code: grpc.StatusCode, reason: str | None, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later: the core is away, starting or overloaded."""
        return self.code in _TRANSIENT


class ClosedError(CallError):
    """The client was closed before the call, or amid it."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.CANCELLED, None, "the client is closed")

    @property
    def is_transient(self) -> bool:
        """No: a closed client calls no more."""
        return False


def call_error(error: Any) -> CallError:
    """Convert an error of gRPC's, from a synchronous call or an asyncio one."""
    return CallError(error.code(), _reason(error.trailing_metadata()), error.details() or "")


def _reason(metadata: Any) -> str | None:
    """Return the reason that the core gave in a call's trailing metadata."""
    for key, value in metadata or ():
        if key != STATUS_TRAILER:
            continue
        info = ErrorInfo()
        try:
            for detail in Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                    return info.reason
        except DecodeError:
            return None
    return None
