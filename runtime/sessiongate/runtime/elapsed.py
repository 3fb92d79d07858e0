"""The clock for durations and deadlines: it never goes back, and includes suspended time."""

from __future__ import annotations

import time

# CLOCK_MONOTONIC stops while the machine sleeps; sessions elsewhere continue.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Return the seconds since some moment before this process started."""
    return time.clock_gettime(_CLOCK)
