"""Deletion of past sessions that are no longer kept, in small steps."""

from __future__ import annotations

import sqlite3

from sessiongate.core.ledger.coverage_rows import forget_coverage, move_horizon
from sessiongate.core.ledger.past_selector import FOREVER
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.runtime.elapsed import elapsed

_STEP = 0.005  # seconds, and about as long to commit: a write does not wait for long
_AT_ONCE = 50  # rows, between two looks at the time


def trim_past(connection: sqlite3.Connection, policy: HistoryPolicy, now: int) -> tuple[int, bool]:
    """Delete some of what is not kept ``now``, in ns since the epoch.

    Return how many past sessions were deleted, and whether there may be more to delete.
    """
    end = elapsed() + _STEP
    until, horizon, dropped, has_more = policy.horizon(now), 0, 0, True
    while has_more and elapsed() < end:
        is_large = used_bytes(connection) > policy.most_bytes
        last = connection.execute(
            "SELECT end_time, id FROM past_sessions WHERE end_time < ?"
            " ORDER BY end_time, id LIMIT ?",
            (FOREVER if is_large else until, _AT_ONCE),
        ).fetchall()
        if last:
            connection.execute("DELETE FROM past_sessions WHERE (end_time, id) <= (?, ?)", last[-1])
            horizon = last[-1][0]
            dropped += len(last)
        else:
            has_more = forget_coverage(connection, until, _AT_ONCE)
    if horizon:
        move_horizon(connection, horizon)
    return dropped, has_more


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the database that are in use."""
    ((pages,),) = connection.execute("PRAGMA page_count")
    ((free,),) = connection.execute("PRAGMA freelist_count")
    ((size,),) = connection.execute("PRAGMA page_size")
    return int((pages - free) * size)
