"""The error of a call that failed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
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
    is None if the core gave none: it was not reached, or it is not a core. ``metadata`` is what
    the core adds to its reason, by name.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str | None,
        text: str,
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.metadata = metadata

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


def moved_on() -> CallError:
    """Return the error of a call that was ended because another core is called now."""
    return CallError(grpc.StatusCode.UNAVAILABLE, None, "the core was lost; another one is called")


def call_error(error: Any) -> CallError:
    """Convert an error of gRPC's, from a synchronous call or an asyncio one."""
    info = _info(error.trailing_metadata())
    text = error.details() or ""
    if info is None:
        return CallError(error.code(), None, text)
    return CallError(error.code(), info.reason, text, dict(info.metadata))


def _info(metadata: Any) -> ErrorInfo | None:
    """Return the core's reason, with what it adds, from a call's trailing metadata."""
    for key, value in metadata or ():
        if key != STATUS_TRAILER:
            continue
        info = ErrorInfo()
        try:
            for detail in Status.FromString(value).details:
                if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
                    return info
        except DecodeError:
            return None
    return None
