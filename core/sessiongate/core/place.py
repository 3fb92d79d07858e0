"""The place of a session in the order by its start, and then by its id: both in one number.

It is unique, and fixed for a session's whole life, so that pages can continue after it.
The place in the order by id is that with no time: the id.
"""

from __future__ import annotations

_ID_BITS = 64
ID_MASK = (1 << _ID_BITS) - 1  # of a place


def place_of(nanoseconds: int, ident: int) -> int:
    """Return the place of a session with this start, in nanoseconds since the epoch."""
    return nanoseconds << _ID_BITS | ident


def id_of(place: int) -> int:
    """Return the id of the session with this place, in any order."""
    return place & ID_MASK


def time_of(place: int) -> int:
    """Return the time of a place, in nanoseconds since the epoch."""
    return place >> _ID_BITS
