"""Sessions as bytes: each rendered once a change, for any host and at any second.

A rendered session is its compact JSON with holes: for what every URL starts with,
and for the seconds that it has been idle. The bytes that mark the holes are none
that JSON may contain; they take the place of tokens that no caller can guess.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from gateway.jsonapi.document import dump
from gateway.resources import session_resource
from sessiongate.v1.session_pb2 import Session

_BASE, _IDLE = b"\x01", b"\x02"
_BASE_TOKEN, _IDLE_TOKEN = secrets.token_hex(16), secrets.token_hex(16)


class Rendered:
    """A session that does not change any more, and its JSON, made when first asked for."""

    __slots__ = ("_active", "_piece", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self._piece: bytes | None = None
        self._active: float | None = None  # last active, in seconds since the epoch, if known

    def write(self, base: bytes, now: float) -> bytes:
        """The resource object, compact.

        ``base`` is as it stands inside a JSON string, ``now`` in seconds since the epoch.
        """
        piece = self._piece or self._render()
        if self._active is not None:
            piece = piece.replace(_IDLE, b"%.1f" % max(0.0, now - self._active))
        return piece.replace(_BASE, base)

    def resource(self, base: str, now: float) -> dict[str, Any]:
        """The resource object as a JSON value."""
        return session_resource(self.session, base, now)

    @property
    def ages(self) -> bool:
        """Whether what `write` gives depends on ``now``."""
        return self.session.HasField("last_active_time")

    def _render(self) -> bytes:
        resource = session_resource(self.session, _BASE_TOKEN, 0.0)
        if self.ages:
            active = self.session.last_active_time
            self._active = active.seconds + active.nanos / 1e9
            resource["attributes"]["idle"] = _IDLE_TOKEN
        piece = dump(resource, pretty=False)
        piece = piece.replace(f'"{_IDLE_TOKEN}"'.encode(), _IDLE)
        self._piece = piece.replace(_BASE_TOKEN.encode(), _BASE)
        return self._piece


def write_session(row: Rendered, base: str, now: float) -> bytes:
    """The compact document of one session, where there is nothing to say besides."""
    written = _written(base)
    return b'{"links":{"self":"%b/v1/sessions/%d"},"data":%b}' % (
        written,
        row.session.id,
        row.write(written, now),
    )


def write_all(rows: Iterable[Rendered], base: str, now: float) -> bytes:
    """The resource objects, compact, with commas between them."""
    written = _written(base)
    return b",".join([row.write(written, now) for row in rows])


@lru_cache(maxsize=64)
def _written(base: str) -> bytes:
    """What every URL starts with, as it stands inside a JSON string."""
    return dump(base, pretty=False)[1:-1]
