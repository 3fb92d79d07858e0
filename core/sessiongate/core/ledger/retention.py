"""Which past sessions a ledger keeps, and the deletion of others in small steps."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sessiongate.core.ledger.coverage_rows import HORIZON, forget_coverage

_ROWS = 500  # deleted at a time


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """Which past sessions are kept; times in ns."""

    age: int | None = 30 * 24 * 3600 * 10**9  # since they ended; None keeps none
    most_bytes: int = 2 << 30  # of the database
    shortest: int = 0  # that a session must have lasted

    @property
    def least_duration(self) -> int | None:
        """How long a session must have lasted to be kept; None if none is kept."""
        return None if self.age is None else self.shortest

    def enforce(self, connection: sqlite3.Connection, now: int) -> bool:
        """Delete some of what is not kept ``now``; return whether there may be more."""
        until = now - self.age if self.age is not None else now
        is_large = _bytes(connection) > self.most_bytes
        condition = "" if is_large else " WHERE end_time < ?"
        last = connection.execute(
            f"SELECT end_time, id FROM past_sessions{condition}"  # noqa: S608
            f" ORDER BY end_time, id LIMIT {_ROWS}",
            () if is_large else (until,),
        ).fetchall()
        horizon = until if self.age is None else 0
        if last:
            connection.execute("DELETE FROM past_sessions WHERE (end_time, id) <= (?, ?)", last[-1])
            horizon = last[-1][0]
        if horizon:
            connection.execute(
                "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
                " DO UPDATE SET value = max(value, excluded.value)",
                (HORIZON, horizon),
            )
            forget_coverage(connection, horizon)
        return len(last) == _ROWS


def _bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the database that are in use."""
    ((pages,),) = connection.execute("PRAGMA page_count")
    ((free,),) = connection.execute("PRAGMA freelist_count")
    ((size,),) = connection.execute("PRAGMA page_size")
    return int((pages - free) * size)
