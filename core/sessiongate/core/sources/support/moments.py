"""Times that sources state, as timestamps of the contract that can be stored."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

# The range of 64-bit nanoseconds, in whole seconds: the years 1677 to 2262. The ledger and
# all code that compares times use nanoseconds.
EARLIEST, LATEST = -(2**63) // 10**9 + 1, 2**63 // 10**9 - 1


def is_storable(time: Timestamp) -> bool:
    """Return whether a time can be stored."""
    return EARLIEST <= time.seconds <= LATEST and 0 <= time.nanos < 10**9


def storable_moment(time: Timestamp) -> int | None:
    """Return a time in nanoseconds since the epoch; None if it cannot be stored."""
    seconds, nanos = time.seconds, time.nanos
    if EARLIEST <= seconds <= LATEST and 0 <= nanos < 10**9:
        return int(seconds * 10**9 + nanos)
    return None


def timestamp(nanoseconds: int) -> Timestamp:
    """Convert nanoseconds since the epoch to a timestamp.

    Raises `ValueError` for a time that cannot be stored.
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError("expected a time from the years 1678 to 2261")
    return Timestamp(seconds=seconds, nanos=rest)
