"""A session that is about to be shown, prepared as far as possible beforehand."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.table.addresses import address_of
from sessiongate.core.table.row import Values, place_of
from sessiongate.v1.session_pb2 import Session


class Draft(NamedTuple):
    """A session without revision and update_time, which the table assigns."""

    id: int
    body: bytes  # the session, encoded
    place: int  # in the order by connect_time
    address: int | None  # of its remote
    values: Values

    @classmethod
    def of(cls, session: Session) -> Draft:
        """Prepare a session as it is now."""
        session.ClearField("revision")
        session.ClearField("update_time")
        moment = session.connect_time
        return cls(
            session.id,
            session.SerializeToString(),
            place_of(moment.seconds * 10**9 + moment.nanos, session.id),
            address_of(session.remote),
            Values.of(session),
        )
