"""The errors of the core's domain; `core.grpc.status` maps them to gRPC."""

from __future__ import annotations

from dataclasses import dataclass

MAX_VIOLATIONS = 20  # of a request that are named


class CoreError(Exception):
    """An error that is reported to the caller. Each class is in `STATUS_MAPPINGS`."""

    def __init__(self, text: str, **metadata: str) -> None:
        super().__init__(text)
        self.metadata = metadata


class SessionNotFoundError(CoreError):
    """No session has this id."""


class SourceUnreachableError(CoreError):
    """The source of this session cannot be read, so whether it still exists is unknown."""


class NotReadyError(CoreError):
    """Some source has not been read, and has not failed, since the core started."""


class CoreStandbyError(CoreError):
    """The core stands by: another one is active for its sources."""


class LedgerUnavailableError(CoreError):
    """The ledger cannot be read."""


class RevisionNotHeldError(CoreError):
    """The change log no longer has this revision, or does not have it yet."""


class TooManyWatchersError(CoreError):
    """The caller has reached its limit of open streams."""


class TooManyCallsError(CoreError):
    """The caller has reached its limit of concurrent calls."""


class OperatorRequiredError(CoreError):
    """The caller does not have the role of an operator."""

    def __init__(
        self,
        text: str = "this caller does not have the role of an operator, which --operators and"
        " --operator-claim give",
        **metadata: str,
    ) -> None:
        super().__init__(text, **metadata)


class ActionNotSupportedError(CoreError):
    """The source's kind or version cannot do this without the risk of hitting another session."""


class ActionNotAllowedError(CoreError):
    """The source's configuration does not allow the action."""


class ActionRefusedError(CoreError):
    """The source refuses the action to the user that acts for this core."""


class SessionChangedError(CoreError):
    """The session, or its statement, is not the one that the caller saw."""


class NoStatementError(CoreError):
    """The session runs no statement that could be cancelled."""


class TooManyActionsError(CoreError):
    """The caller, or all callers for this source, have reached their limit of actions."""


class AuditUnavailableError(CoreError):
    """The audit log cannot be written, so nothing is done."""


class ShuttingDownError(CoreError):
    """The core is shutting down; another one may replace it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid field of a request: its path, and what is wrong and allowed."""

    field: str
    description: str


_NAMED = 5  # violations that the text of an error names; its details name more


class InvalidRequestError(CoreError):
    """One or more fields of the request are invalid, as its violations state."""

    def __init__(self, *violations: Violation) -> None:
        first = "; ".join(f"{v.field}: {v.description}" for v in violations[:_NAMED])
        super().__init__(first + ("; and more" if len(violations) > _NAMED else ""))
        self.violations = violations


class MalformedRequestError(CoreError):
    """The request is not a message of the method's type."""


class InternalError(CoreError):
    """An unexpected error occurred; only the log has the cause."""

    def __init__(self) -> None:
        super().__init__("the core failed; its log has the cause")


def excerpt(value: str, most: int = 40) -> str:
    """Quote the beginning of a caller's value, for use in an error."""
    return repr(value) if len(value) <= most else f"{value[:most]!r}…"
