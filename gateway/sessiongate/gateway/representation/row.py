"""Sessions as bytes, each rendered once per change, for any host and any time.

A rendered session is its compact JSON with placeholders for the base of its URLs and for
the seconds that it has been idle. The bytes that mark them cannot occur in JSON; they
replace tokens that no caller can guess.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from sessiongate.gateway.jsonapi.document import dump
from sessiongate.gateway.representation.session import session_resource
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.times import seconds_of

_WRITTEN = 20  # rows between two yields

_BASE, _IDLE = b"\x01", b"\x02"
_BASE_TOKEN, _IDLE_TOKEN = secrets.token_hex(16), secrets.token_hex(16)


class SessionRow:
    """A session in little memory: a gateway may hold a million.

    Attributes hold what selects the rows of lists and describes services; the rest stays
    encoded. The JSON is rendered when it is first requested.
    """

    __slots__ = (
        "_encoded",
        "_piece",
        "_version",
        "active",
        "connected",
        "id",
        "service",
        "source",
        "state",
        "user",
    )

    def __init__(self, session: Session) -> None:
        self.id = session.id
        self.service = intern(session.service)
        self.source = intern(session.source)
        self.state = session.state
        user = session.user
        self.user = intern(user) if user or session.HasField("user") else None
        connected = session.connect_time
        self.connected = connected.seconds * 10**9 + connected.nanos  # since the epoch
        # When it was last active, in seconds since the epoch, if known.
        self.active: float | None = None
        if session.HasField("last_active_time"):
            self.active = seconds_of(session.last_active_time)
        self._encoded = session.SerializeToString()
        self._piece: bytes | None = None
        self._version: tuple[int, float] | None = None

    @property
    def version(self) -> tuple[int, float]:
        """The session's revision, and its time in seconds since the epoch."""
        if self._version is None:
            session = self.session
            self._version = session.revision, seconds_of(session.update_time)
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
        if self.active is None:
            return piece
        return piece.replace(_IDLE, b"%.1f" % max(0.0, now - self.active))

    def resource(self, base: str, now: float) -> dict[str, Any]:
        """Return the resource object as a JSON value."""
        return session_resource(self.session, base, now)

    def _render(self) -> bytes:
        resource = session_resource(self.session, _BASE_TOKEN, 0.0)
        if self.active is not None:
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
    for start in range(0, len(rows), _WRITTEN):
        parts.append(write_all(rows[start : start + _WRITTEN], base, now))
        yield
    return b",".join(parts)


def cut_rows(rows: Sequence[SessionRow], most: int, size: int) -> Iterator[Sequence[SessionRow]]:
    """Cut rows into one part, which may be empty, or more: of ``most`` rows, or fewer if large.

    Without its last row, a part has less than ``size`` encoded bytes.
    """
    start = 0
    while True:
        stop, room = start, size
        for row in rows[start : start + most]:
            if room <= 0:
                break
            room -= len(row._encoded)
            stop += 1
        yield rows[start:stop]
        start = stop
        if start >= len(rows):
            return


@lru_cache(maxsize=64)
def _written(base: str) -> bytes:
    """Return the base of URLs, escaped as inside a JSON string."""
    return dump(base, pretty=False)[1:-1]
