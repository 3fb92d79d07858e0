"""A session about to be shown, with all that can be made of it before the table changes."""

from __future__ import annotations

from typing import NamedTuple

from sessiongate.core.table.query import Key
from sessiongate.v1.session_pb2 import Session


class Draft(NamedTuple):
    """A session without its revision and update_time, which the table gives it."""

    id: int
    session: Session
    body: bytes  # the session, encoded
    keys: tuple[Key, Key]  # in the orders by id and by connect_time

    @classmethod
    def of(cls, session: Session) -> Draft:
        """Make a session ready to be shown. From now on nothing else may write to it."""
        session.ClearField("revision")
        session.ClearField("update_time")
        ident = session.id
        return cls(ident, session, session.SerializeToString(), keys_of(ident, session))


def keys_of(ident: int, session: Session) -> tuple[Key, Key]:
    """Return the keys of a session in the orders by id and by connect_time."""
    moment = session.connect_time
    return (0, ident), (moment.seconds * 10**9 + moment.nanos, ident)
