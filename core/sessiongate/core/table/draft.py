"""A session that is about to be shown, prepared as far as possible beforehand."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.place import place_of
from sessiongate.core.table.addresses import Remote, remote_of
from sessiongate.core.table.row import Values
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.times import nanoseconds_of

# Limits of what becomes visible together, so that readers can take it, and that it takes one
# turn of the loop of less than 20 ms, also on a busy machine.
STEP_CHANGES = 200
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
    def of(cls, session: Session, place: int | None = None) -> Draft:
        """Prepare a session as it is now; its ``place`` is given if it is known."""
        unassigned(session)
        ident, has = session.id, session.HasField
        if place is None:
            place = place_of(nanoseconds_of(session.connect_time), ident)
        active = nanoseconds_of(session.last_active_time) if has("last_active_time") else None
        since = transaction = None
        is_blocked = False
        if has("activity"):
            activity = session.activity
            if activity.HasField("since_time"):
                since = nanoseconds_of(activity.since_time)
            if activity.HasField("transaction_start_time"):
                transaction = nanoseconds_of(activity.transaction_start_time)
            is_blocked = bool(activity.blocked_by_ids)
        remote = remote_of(session.remote) if has("remote") else None
        body, times = session.SerializeToString(), (active, since, transaction)
        return cls(ident, body, place, remote, Values.of(session), *times, is_blocked)


def unassigned(session: Session) -> Session:
    """Clear what each table assigns by itself; return the session."""
    session.ClearField("revision")
    session.ClearField("identity_revision")
    session.ClearField("update_time")
    return session
