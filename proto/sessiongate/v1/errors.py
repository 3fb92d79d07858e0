"""How the contract's errors are sent, as both ends agree."""

from __future__ import annotations

from enum import StrEnum

# The domain of each ErrorInfo.
ERROR_DOMAIN = "sessiongate"
# The trailer that holds the encoded google.rpc.Status of a call that failed.
STATUS_TRAILER = "grpc-status-details-bin"


class Reason(StrEnum):
    """Why a call failed: the ``reason`` of its ErrorInfo. Later versions may add more."""

    CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    CREDENTIALS_WRONG = "CREDENTIALS_WRONG"
    INTERNAL = "INTERNAL"
    INVALID_REQUEST = "INVALID_REQUEST"
    LEDGER_UNAVAILABLE = "LEDGER_UNAVAILABLE"
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    NOT_READY = "NOT_READY"
    REVISION_NOT_HELD = "REVISION_NOT_HELD"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    SOURCE_UNREACHABLE = "SOURCE_UNREACHABLE"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    TOO_MANY_WATCHERS = "TOO_MANY_WATCHERS"
