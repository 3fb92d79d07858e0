"""One session, as its source states it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sessiongate.runtime.memory import untrack
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ListSessionsResponse


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Part of an observation that could not be read, and what that leaves unknown.

    ``text`` is the text of an `UnreadableError`. For a member of a session, ``fields`` are
    the fields of `Session` that it would have filled.
    """

    text: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpLink:
    """One TCP connection between a client and a server, as one of its ends states it.

    A proxy's session and a server's session are linked if both state the same
    connection (`core.collect.links`). ``client`` and ``server`` are address and port, an
    IPv4-mapped IPv6 address as IPv4; ``server`` may be the address at which the source
    itself reaches the server. ``server_id`` is the server's id for the connection: its
    backend's process id or its connection id. What is not known for certain is None.
    """

    client: tuple[str, int] | None = None
    server: tuple[str, int] | None = None
    server_id: int | None = None

    def __post_init__(self) -> None:
        untrack(self)


class Observed:
    """One session as a source states it.

    ``key`` holds only values that the source states exactly, the same each time; with
    the source's name and incarnation it is the session's identity. ``session``
    has no ``id``, ``source``, ``update_time``, ``revision`` or ``identity_revision``: the
    core sets those. The core keeps the first ``connect_time`` that it receives for
    a key (its own time if it receives none), so that an inferred start does not drift;
    a start that the source states exactly belongs in the key.
    ``blocked_by`` are the keys of the sessions of this source that this one waits for; the
    core turns them into the ``blocked_by_ids`` of its activity.
    ``accepted`` is the connection from the session's client, ``opened`` are those that
    its service opened for it, if the source states them. The same object in the next
    observation means that nothing about the session has changed: the source must not
    change one that it has delivered, nor let it refer to what refers to it.

    ``unreadable`` are the members that could not be read: ``session`` lacks them, and
    the core keeps their last known values. ``stated_id`` is the id that the source
    requests; the session gets it if it is still free, and ``native_id`` is shown only if
    not. ``former`` is the key that an earlier version used for this session, if different.
    """

    __slots__ = (
        *("_session", "accepted", "blocked_by", "former", "key"),
        *("opened", "stated_id", "unreadable", "was_given_start"),
    )

    def __init__(
        self,
        key: str,
        session: Session,
        accepted: TcpLink | None = None,
        opened: tuple[TcpLink, ...] = (),
        unreadable: tuple[Unreadable, ...] = (),
        stated_id: int | None = None,
        former: str = "",
        blocked_by: tuple[str, ...] = (),
    ) -> None:
        self.key = key
        self._session: Session | bytes = session
        self.accepted = accepted
        self.opened = opened
        self.unreadable = unreadable
        self.stated_id = stated_id
        self.former = former
        self.blocked_by = blocked_by
        self.was_given_start = False  # by the core, for the source states none
        untrack(self)

    @property
    def session(self) -> Session:
        """The session; each call decodes it once the core has shown it, with what that added."""
        if isinstance(self._session, bytes):
            return ListSessionsResponse.FromString(self._session).sessions[0]
        return self._session

    def keep(self, piece: bytes) -> None:
        """Keep the session as it was shown: encoded, as field 1 of a message (the table's)."""
        self._session = piece
        if self.opened and isinstance(self.opened, tuple):  # a plugin's may be anything
            untrack(self.opened)


def know_empty(session: Session, unreadable: Sequence[Unreadable], *lists: str) -> None:
    """Record which of these lists, all stated by the source, were read and are empty."""
    for name in lists:
        if not getattr(session, name) and not any(name in part.fields for part in unreadable):
            session.known_empty.append(name)
