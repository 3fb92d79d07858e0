"""A session in the table: encoded, with what is needed without decoding it."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.table.addresses import Remote
from sessiongate.runtime.memory import untrack
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ListSessionsResponse

_read = attrgetter("source", "service", "state", "user", "database", "application")


class Values(NamedTuple):
    """The values of a session that a filter may name; None is unknown, and matches no name."""

    source: str
    service: str
    state: int
    user: str | None
    database: str | None
    application: str | None
    activity: int | None  # its state

    @classmethod
    def of(cls, session: Session) -> Values:
        """Return the values of a session; one that is not empty needs no other look."""
        source, service, state, user, database, application = _read(session)
        return cls(
            source,
            service,
            state,
            user if user or session.HasField("user") else None,
            database if database or session.HasField("database") else None,
            application if application or session.HasField("application") else None,
            # To read one that is absent takes longer than all the rest.
            (session.activity.state or None) if session.HasField("activity") else None,
        )


class Group:
    """All sessions with the same values; equal to no other group."""

    __slots__ = ("values",)

    def __init__(self, values: Values) -> None:
        self.values = values
        untrack(values)
        untrack(self)


class Row:
    """A session; nothing changes a row."""

    __slots__ = (
        *("active", "group", "id", "identity", "is_blocked", "piece", "place", "remote"),
        *("since", "transaction", "update_time"),
    )

    def __init__(
        self,
        ident: int,
        place: int,
        remote: Remote | None,
        group: Group,
        piece: bytes,
        update_time: Timestamp,
        active: int | None = None,
        since: int | None = None,
        transaction: int | None = None,
        is_blocked: bool = False,
        identity: int = 0,
    ) -> None:
        self.id = ident
        self.place = place  # `core.place`
        self.remote = remote
        self.group = group
        self.piece = piece  # `core.table.encoding`
        self.update_time = update_time
        # When it was last active, and when its activity and its transaction began, in
        # nanoseconds since the epoch.
        self.active = active
        self.since = since
        self.transaction = transaction
        self.is_blocked = is_blocked
        self.identity = identity  # its identity_revision
        untrack(self)

    def is_still(self, remote: Remote | None, values: Values) -> bool:
        """Return whether a session with its id, and so with its start, is who it is."""
        old = self.group.values
        return (
            self.remote == remote
            and old.user == values.user
            and old.service == values.service
            and old.database == values.database
        )

    @property
    def session(self) -> Session:
        """The session, decoded; each call takes some microseconds."""
        return ListSessionsResponse.FromString(self.piece).sessions[0]
