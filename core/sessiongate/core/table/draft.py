"""A session that is about to be shown, prepared as far as possible beforehand."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.table.query import Key
from sessiongate.v1.session_pb2 import Session


class Draft(NamedTuple):
    """A session without revision and update_time, which the table assigns."""

    id: int
    session: Session
    body: bytes  # the session, encoded
    keys: tuple[Key, Key]  # in the orders by id and by connect_time

    @classmethod
    def of(cls, session: Session) -> Draft:
        """Prepare a session, to which nothing else may write from now on."""
        session.ClearField("revision")
        session.ClearField("update_time")
        ident = session.id
        return cls(ident, session, session.SerializeToString(), keys_of(ident, session))


def keys_of(ident: int, session: Session) -> tuple[Key, Key]:
    """Return the keys of a session in the orders by id and by connect_time."""
    moment = session.connect_time
    return (0, ident), (moment.seconds * 10**9 + moment.nanos, ident)
