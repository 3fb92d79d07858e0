"""The rows that say when each source was observed, and when a core ran; times are in ns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from sessiongate.core.ledger.coverage import CoreRun, Coverage, Interval

COVERAGE_TABLES = (
    # The columns of the key come first: SQLite 3.40 takes others between them for corruption.
    "coverage (source VARCHAR NOT NULL, start_time BIGINT NOT NULL, is_partial BIGINT NOT NULL,"
    " end_time BIGINT NOT NULL, PRIMARY KEY (source, start_time, is_partial)) WITHOUT ROWID",
    # Sessions that lasted less than a run's least_duration are not kept.
    "runs (start_time INTEGER NOT NULL PRIMARY KEY, end_time BIGINT NOT NULL,"
    " least_duration BIGINT NOT NULL)",
)
# Up to when past sessions are no longer kept: the name of a counter.
HORIZON = "history_horizon"
_NOTED = "history_noted"  # the name of another: when a core last wrote that it ran


def write_coverage(
    connection: sqlite3.Connection, intervals: Iterable[Interval], run: CoreRun
) -> None:
    """Write intervals that began or grew, and how long the core has run; none shrinks."""
    connection.executemany(
        "INSERT INTO coverage (source, start_time, end_time, is_partial) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (source, start_time, is_partial)"
        " DO UPDATE SET end_time = max(end_time, excluded.end_time)",
        intervals,
    )
    connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?) ON CONFLICT (start_time)"
        " DO UPDATE SET end_time = max(end_time, excluded.end_time)",
        run,
    )
    connection.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET value = excluded.value",
        (_NOTED, run.end),
    )


def forget_coverage(connection: sqlite3.Connection, horizon: int) -> None:
    """Delete what ended before a time."""
    connection.execute("DELETE FROM coverage WHERE end_time < ?", (horizon,))
    connection.execute("DELETE FROM runs WHERE end_time < ?", (horizon,))


def covered_until(connection: sqlite3.Connection, source: str) -> int | None:
    """Return when a source was last observed, as far as that is written."""
    ((end,),) = connection.execute("SELECT max(end_time) FROM coverage WHERE source = ?", (source,))
    noted = connection.execute("SELECT value FROM counters WHERE name = ?", (_NOTED,))
    # If the clock was set back, the latest time is not the last one.
    return None if end is None else min([end, *(value for (value,) in noted)])


def read_coverage(connection: sqlite3.Connection, start: int, end: int) -> Coverage:
    """Read what concerns the time from ``start`` to ``end``."""
    intervals = connection.execute(
        "SELECT source, start_time, end_time, is_partial FROM coverage"
        " WHERE end_time >= ? AND start_time <= ? ORDER BY source, start_time",
        (start, end),
    )
    runs = connection.execute(
        "SELECT start_time, end_time, least_duration FROM runs"
        " WHERE end_time >= ? AND start_time <= ? ORDER BY start_time",
        (start, end),
    )
    first = connection.execute("SELECT source, min(start_time) FROM coverage GROUP BY source")
    horizon = connection.execute("SELECT value FROM counters WHERE name = ?", (HORIZON,))
    return Coverage(
        [Interval(source, begin, stop, bool(part)) for source, begin, stop, part in intervals],
        [CoreRun(*run) for run in runs],
        dict(first),
        next((value for (value,) in horizon), 0),
    )
