"""What may go wrong in the core, whoever asks. `core.grpc.status` answers gRPC."""

from __future__ import annotations

from dataclasses import dataclass

MAX_VIOLATIONS = 20  # of a request that are named


class CoreError(Exception):
    """An error that is reported to the caller. Each kind is in `STATUS_MAPPINGS`."""

    def __init__(self, text: str, **metadata: str) -> None:
        super().__init__(text)
        self.metadata = metadata


class SessionNotFoundError(CoreError):
    """No session has this id."""


class SourceUnreachableError(CoreError):
    """The source that last had this session cannot be read: the session may live or not."""


class NotReadyError(CoreError):
    """Some source has neither answered nor failed since the core started."""


class RevisionNotHeldError(CoreError):
    """The change log does not begin early enough, or has not come so far."""


class TooManyWatchersError(CoreError):
    """The caller has as many streams open as one may."""


class TooManyCallsError(CoreError):
    """The caller has as many calls under way as one may."""


class ShuttingDownError(CoreError):
    """The core is about to end; another one may follow."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that is wrong: its path, and what is wrong and allowed."""

    field: str
    description: str


_NAMED = 5  # violations that the text of an error names; its details name more


class InvalidRequestError(CoreError):
    """One or more fields of the request are wrong, as its violations say."""

    def __init__(self, *violations: Violation) -> None:
        first = "; ".join(f"{v.field}: {v.description}" for v in violations[:_NAMED])
        super().__init__(first + ("; and more" if len(violations) > _NAMED else ""))
        self.violations = violations


class MalformedRequestError(CoreError):
    """What was sent is not the message that the method takes."""


class InternalError(CoreError):
    """Something that should not happen did. The cause is in the log only."""

    def __init__(self) -> None:
        super().__init__("the core failed to answer; its log has the cause")


def excerpt(value: str, most: int = 40) -> str:
    """Quote the beginning of a caller's value, for an error to repeat."""
    return repr(value) if len(value) <= most else f"{value[:most]!r}…"
