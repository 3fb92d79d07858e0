"""A session that is about to be shown, prepared as far as possible beforehand."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.place import place_of
from sessiongate.core.table.addresses import Remote, remote_of
from sessiongate.core.table.row import Values
from sessiongate.v1.session_pb2 import Activity, Session
from sessiongate.v1.times import nanoseconds_of

# Limits of what becomes visible together, so that readers can take it.
STEP_CHANGES = 1000
STEP_BYTES = 4 * 1024 * 1024


class Draft(NamedTuple):
    """A session without its revisions and update_time, which the table assigns."""

    id: int
    body: bytes  # the session, encoded
    place: int  # `core.place`
    remote: Remote | None
    values: Values
    active: int | None  # when it was last active, in nanoseconds since the epoch
    since: int | None  # when its activity began
    transaction: int | None  # when its transaction began
    is_blocked: bool  # by other sessions

    @classmethod
    def of(cls, session: Session) -> Draft:
        """Prepare a session as it is now."""
        unassigned(session)
        since = transaction = None
        is_blocked = False
        if session.HasField("activity"):
            activity = session.activity
            since = _time(activity, "since_time")
            transaction = _time(activity, "transaction_start_time")
            is_blocked = len(activity.blocked_by_ids) > 0
        return cls(
            session.id,
            session.SerializeToString(),
            place_of(nanoseconds_of(session.connect_time), session.id),
            remote_of(session.remote) if session.HasField("remote") else None,
            Values.of(session),
            _time(session, "last_active_time"),
            since,
            transaction,
            is_blocked,
        )


def unassigned(session: Session) -> Session:
    """Clear what each table assigns by itself; return the session."""
    session.ClearField("revision")
    session.ClearField("identity_revision")
    session.ClearField("update_time")
    return session


def _time(message: Session | Activity, field: str) -> int | None:
    return nanoseconds_of(getattr(message, field)) if message.HasField(field) else None
