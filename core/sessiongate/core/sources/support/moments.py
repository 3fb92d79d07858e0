"""Moments that sources state, as the contract has them, within what can be stored."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

# What 64 bits of nanoseconds reach, in whole seconds: the years 1677 to 2262. The ledger
# and all who compare times count so.
EARLIEST, LATEST = -(2**63) // 10**9 + 1, 2**63 // 10**9 - 1


def is_storable(time: Timestamp) -> bool:
    """Whether a moment can be stored."""
    return EARLIEST <= time.seconds <= LATEST


def timestamp(nanoseconds: int) -> Timestamp:
    """A moment, from nanoseconds since the epoch.

    Raises `ValueError` for one that cannot be stored.
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    if not EARLIEST <= seconds <= LATEST:
        raise ValueError("a time from the years 1678 to 2261")
    return Timestamp(seconds=seconds, nanos=rest)
