"""The contract's moments and durations as numbers."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def seconds_of(time: Timestamp | Duration) -> float:
    """Return a moment as seconds since the epoch, or a duration as seconds."""
    return time.seconds + time.nanos / 1e9


def nanoseconds_of(time: Timestamp) -> int:
    """Return a moment in ns since the epoch.

    `Timestamp.ToNanoseconds` takes three times as long.
    """
    return int(time.seconds * 10**9 + time.nanos)
