"""A caller's request to act on a session."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from sessiongate.core.errors import InvalidRequestError, SessionChangedError, Violation
from sessiongate.core.sources.acting import Action
from sessiongate.core.table.row import Row
from sessiongate.v1.session_action_service_pb2 import (
    CancelStatementRequest,
    TerminateSessionRequest,
)
from sessiongate.v1.times import nanoseconds_of

MAX_GRACE = 3600.0  # seconds
MAX_WAIT = 60.0
DEFAULT_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class ActionRequest:
    """An action on one session, and what the caller saw of it; None if it does not say."""

    id: int
    action: Action
    identity_revision: int | None = None
    revision: int | None = None
    activity_since: int | None = None  # in ns since the epoch
    grace: float = 0.0  # seconds before the act
    max_wait: float = DEFAULT_WAIT  # seconds to wait until the end is known

    @property
    def names_statement(self) -> bool:
        """Whether the session must still run the statement that the caller saw."""
        return self.revision is not None or self.activity_since is not None

    def require_seen(self, row: Row) -> None:
        """Raise `SessionChangedError` unless a session is the one that the caller saw."""
        session = row.session
        seen = {
            "it is another session's, or its user, service, database or client has changed": (
                *(self.identity_revision, row.identity),
            ),
            "it has changed": (self.revision, session.revision),
            "it is doing something else": (self.activity_since, row.since),
        }
        for text, (before, now) in seen.items():
            if before is not None and before != now:
                raise SessionChangedError(
                    f"session {row.id} is not as you saw it: {text}; look again",
                    id=str(row.id),
                    identity_revision=str(row.identity),
                    revision=str(session.revision),
                )

    @classmethod
    def terminate(cls, request: TerminateSessionRequest) -> ActionRequest:
        """Read a request to end a session. Raises `InvalidRequestError`."""
        violations = [*_of_id(request.id)]
        grace = _seconds(request, "grace", 0.0, MAX_GRACE, violations)
        max_wait = _seconds(request, "max_wait", DEFAULT_WAIT, MAX_WAIT, violations)
        if violations:
            raise InvalidRequestError(*violations)
        return cls(
            request.id,
            Action.TERMINATE,
            request.identity_revision if request.HasField("identity_revision") else None,
            grace=grace,
            max_wait=max_wait,
        )

    @classmethod
    def cancel(cls, request: CancelStatementRequest) -> ActionRequest:
        """Read a request to cancel a statement. Raises `InvalidRequestError`."""
        violations = [*_of_id(request.id)]
        max_wait = _seconds(request, "max_wait", DEFAULT_WAIT, MAX_WAIT, violations)
        if violations:
            raise InvalidRequestError(*violations)
        since = request.activity_since_time
        has_since = request.HasField("activity_since_time")
        return cls(
            request.id,
            Action.CANCEL,
            request.identity_revision if request.HasField("identity_revision") else None,
            request.revision if request.HasField("revision") else None,
            nanoseconds_of(since) if has_since else None,
            max_wait=max_wait,
        )


def _of_id(ident: int) -> tuple[Violation, ...]:
    return () if ident else (Violation("id", "must be at least 1"),)


def _seconds(
    request: TerminateSessionRequest | CancelStatementRequest,
    field: str,
    default: float,
    most: float,
    violations: list[Violation],
) -> float:
    """Read a duration; add to the violations if it is out of range."""
    if not request.HasField(field):
        return default
    duration: Duration = getattr(request, field)
    seconds = duration.seconds + duration.nanos / 1e9
    if not 0 <= seconds <= most:
        violations.append(Violation(field, f"must be from 0 to {most:.0f} seconds"))
    return seconds
