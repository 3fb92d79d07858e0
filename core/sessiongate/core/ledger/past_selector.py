"""Which past sessions are asked for, in which order, and the moments at which they are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sessiongate.v1.session_pb2 import Session

FOREVER = (1 << 63) - 1  # later than any time, in ns since the epoch; the end of an open session
_ALWAYS_SET = ("source", "service", "state")


class PastPlace(NamedTuple):
    """A place in an order: after the session with this time and id."""

    time: int
    id: int


@dataclass(frozen=True, slots=True)
class PastSelector:
    """Which sessions are asked for: that connected before ``end`` and had not ended by ``start``.

    For a moment, ``end`` is the time right after it. Sessions that ended after ``as_of`` are in
    the order as if they had not. ``names`` are the allowed values of columns.
    """

    start: int
    end: int
    as_of: int
    by_end: bool = False
    descending: bool = False
    names: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    connected: tuple[int, int] = (-FOREVER, FOREVER)  # from the first, before the second
    remote: Callable[[str | None], bool] | None = None


def matches(session: Session, selector: PastSelector) -> bool:
    """Return whether a session has the values that are asked for."""
    for column, allowed in selector.names.items():
        if column not in _ALWAYS_SET and not session.HasField(column):
            return False
        if getattr(session, column) not in allowed:
            return False
    if selector.remote is None:
        return True
    return selector.remote(session.remote if session.HasField("remote") else None)


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments at equal intervals, in ns since the epoch."""

    start: int
    step: int
    number: int

    def __getitem__(self, index: int) -> int:
        return self.start + index * self.step

    @property
    def last(self) -> int:
        """The last of them."""
        return self[self.number - 1]

    def first_from(self, time: int) -> int:
        """Return the index of the first moment that is not before a time."""
        return min(max(0, -((self.start - time) // self.step)), self.number)


class Counted(NamedTuple):
    """How many sessions with a value were connected from one moment until before another."""

    value: str | None
    first: int
    stop: int
    sessions: int
