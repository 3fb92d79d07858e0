"""Sessions as bytes, each rendered once per change, for any host and any time.

A rendered session is its compact JSON with placeholders for the base of its URLs and for
the seconds that it has been idle. The bytes that mark them cannot occur in JSON; they
replace tokens that no caller can guess.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter
from sys import intern
from typing import Any, TypeAlias

from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.representation.session import is_idle, session_resource
from sessiongate.runtime.memory import untrack
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.states import STATE_WORDS
from sessiongate.v1.times import nanoseconds_of, seconds_of

# A session's value in each field of `FIELDS`, None if it has none; and then its source.
IndexedValues: TypeAlias = tuple[Hashable, ...]
FIELDS = (
    *("services", "users", "states", "sources", "databases", "applications", "remotes"),
    "activities",
)

WRITTEN = 3  # times the bytes of an encoded session, as JSON
_AT_ONCE = 20  # rows written between two yields
_STATES = frozenset(STATE_WORDS)

_read = attrgetter(
    *("source", "native_id", "service", "user", "state"),
    *("database", "application", "remote"),
)

_BASE, _IDLE = b"\x01", b"\x02"
_BASE_TOKEN, _IDLE_TOKEN = secrets.token_hex(16), secrets.token_hex(16)


class SessionRow:
    """A session in little memory: a gateway may hold a million.

    What is needed often is decoded once, when it is first requested, and so is the JSON
    rendered; the rest stays encoded.
    """

    __slots__ = (
        "_connected",
        "_encoded",
        "_idle_since",
        "_piece",
        "_values",
        "_version",
        "id",
    )

    def __init__(self, session: Session) -> None:
        self.id = session.id  # no more is read: a first copy does this for each session
        self._encoded = session.SerializeToString()
        self._values: IndexedValues | None = None
        self._piece: bytes | None = None
        self._version: tuple[int, float, int] | None = None
        self._connected: int | None = None
        self._idle_since: float | None = None
        untrack(self)

    @property
    def values(self) -> IndexedValues:
        """The values that it is found by and that its resource object shows; then its source."""
        return self._values or self._read_values()

    def _read_values(self) -> IndexedValues:
        # In one call, because indexes do this for each session. Most have a value in each
        # field: a field that is not empty needs no other look.
        session = self.session
        source, native, service, user, state, database, application, remote = _read(session)
        source = intern(source)
        self._values = (
            intern(service),
            intern(user) if user or session.HasField("user") else None,
            state if state in _STATES else SessionState.SESSION_STATE_UNSPECIFIED,
            source if native or session.HasField("native_id") else None,
            intern(database) if database or session.HasField("database") else None,
            intern(application) if application or session.HasField("application") else None,
            remote if remote or session.HasField("remote") else None,
            # To read one that is absent takes longer than all the rest.
            (session.activity.state or None) if session.HasField("activity") else None,
            source,
        )
        return self._values

    @property
    def source(self) -> str:
        """The name of its source."""
        return self.values[-1]  # type: ignore[return-value] # as it was put there

    @property
    def service(self) -> str:
        """The name of its service, or ""."""
        return self.values[0]  # type: ignore[return-value] # as it was put there

    @property
    def state(self) -> SessionState:
        """Its state; unspecified if this version does not know it."""
        return self.values[2]  # type: ignore[return-value]

    @property
    def connected(self) -> int:
        """When it connected, in nanoseconds since the epoch."""
        return self._decode_times(self.session) if self._connected is None else self._connected

    @property
    def idle_since(self) -> float | None:
        """When it was last active, in seconds since the epoch, if it has an idle time."""
        if self._connected is None:
            self._decode_times(self.session)
        return self._idle_since

    def _decode_times(self, session: Session) -> int:
        """Keep both times; return when it connected."""
        if is_idle(session):
            self._idle_since = seconds_of(session.last_active_time)
        self._connected = nanoseconds_of(session.connect_time)
        return self._connected

    @property
    def version(self) -> tuple[int, float, int]:
        """The session's revision, its time in seconds since the epoch, and identity_revision."""
        if self._version is None:
            session = self.session
            changed = seconds_of(session.update_time)
            self._version = session.revision, changed, session.identity_revision
        return self._version

    @property
    def session(self) -> Session:
        """The session, decoded on each access."""
        return Session.FromString(self._encoded)

    def write(self, base: bytes, now: float) -> bytes:
        """Return the resource object, compact.

        ``base`` is escaped as inside a JSON string, ``now`` in seconds since the epoch.
        """
        return self._at(now).replace(_BASE, base)

    def _at(self, now: float) -> bytes:
        """Return the resource object with a placeholder for the base of its URLs."""
        piece = self._piece or self._render()
        if self._idle_since is None:  # it is decoded by now
            return piece
        return piece.replace(_IDLE, b"%.1f" % max(0.0, now - self._idle_since))

    def resource(self, base: str, now: float) -> dict[str, Any]:
        """Return the resource object as a JSON value."""
        return session_resource(self.session, base, now)

    def _render(self) -> bytes:
        session = self.session
        self._decode_times(session)
        resource = session_resource(session, _BASE_TOKEN, 0.0)
        if self._idle_since is not None:
            resource["attributes"]["idle"] = _IDLE_TOKEN
        piece = dump(resource, pretty=False)
        piece = piece.replace(f'"{_IDLE_TOKEN}"'.encode(), _IDLE)
        self._piece = piece.replace(_BASE_TOKEN.encode(), _BASE)
        return self._piece


def write_session(row: SessionRow, base: str, now: float) -> bytes:
    """Return the compact document of one session, if it contains nothing else."""
    written = _written(base)
    return b'{"links":{"self":"%b/v1/sessions/%d"},"data":%b}' % (
        written,
        row.id,
        row.write(written, now),
    )


def write_all(rows: Iterable[SessionRow], base: str, now: float) -> bytes:
    """Return the resource objects, compact, with commas between them."""
    return b",".join([row._at(now) for row in rows]).replace(_BASE, _written(base))


def write_in_steps(rows: Sequence[SessionRow], base: str, now: float) -> Steps[bytes]:
    """Return the same, in steps, because rows never requested before are rendered first."""
    parts = []
    for start in range(0, len(rows), _AT_ONCE):
        parts.append(write_all(rows[start : start + _AT_ONCE], base, now))
        yield
    return b",".join(parts)


def cut_rows(rows: Sequence[SessionRow], most: int, size: int) -> Iterator[Sequence[SessionRow]]:
    """Cut rows into one part, which may be empty, or more: of ``most`` rows, or fewer if large.

    Without its last row, a part has less than ``size`` encoded bytes.
    """
    start = 0
    while True:
        part = rows[start : start + most]
        # Rendered rows will be read anyway, and memory is slow.
        sizes = [
            len(row._encoded) if row._piece is None else len(row._piece) // WRITTEN for row in part
        ]
        if sum(sizes) >= size:
            part = part[: 1 + bisect_left([*accumulate(sizes)], size)]
        yield part
        start += len(part)
        if start >= len(rows):
            return


@lru_cache(maxsize=64)
def _written(base: str) -> bytes:
    """Return the base of URLs, escaped as inside a JSON string."""
    return dump(base, pretty=False)[1:-1]
