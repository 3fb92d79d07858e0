"""The rows that say when each source was observed, and when a core ran; times are in ns."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sessiongate.core.ledger.coverage import CoreRun, Coverage, Interval, KnownSpan
from sessiongate.core.ledger.policy import HistoryPolicy

COVERAGE_TABLES = (
    # The columns of the key come first: SQLite 3.40 takes others between them for corruption.
    "coverage (source VARCHAR NOT NULL, start_time BIGINT NOT NULL, is_partial BIGINT NOT NULL,"
    " end_time BIGINT NOT NULL, PRIMARY KEY (source, start_time, is_partial)) WITHOUT ROWID",
    # When each source was first and last observed, also when its coverage is no longer kept.
    "observed_sources (name VARCHAR NOT NULL PRIMARY KEY, first_time BIGINT NOT NULL,"
    " last_time BIGINT NOT NULL)",
    # Sessions that lasted less than a run's least_duration are not kept.
    "runs (start_time INTEGER NOT NULL PRIMARY KEY, end_time BIGINT NOT NULL,"
    " least_duration BIGINT NOT NULL)",
)
COVERAGE_INDEXES = ("coverage_by_end ON coverage (end_time)", "runs_by_end ON runs (end_time)")
# Names of counters: up to when past sessions were dropped, the last time that was confirmed
# (`ConfirmedClock`), and when a core last wrote that it ran.
_HORIZON, CONFIRMED, _NOTED = "history_horizon", "history_clock", "history_noted"


def write_coverage(
    connection: sqlite3.Connection, intervals: Sequence[Interval], run: CoreRun, confirmed: int
) -> None:
    """Write intervals that began or grew, and how long the core has run; none shrinks."""
    connection.executemany(
        "INSERT INTO coverage (source, start_time, end_time, is_partial) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (source, start_time, is_partial)"
        " DO UPDATE SET end_time = max(end_time, excluded.end_time)",
        intervals,
    )
    connection.executemany(
        "INSERT INTO observed_sources VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " first_time = min(first_time, excluded.first_time),"
        " last_time = max(last_time, excluded.last_time)",
        [(each.source, each.start, each.end) for each in intervals],
    )
    connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?) ON CONFLICT (start_time)"
        " DO UPDATE SET end_time = max(end_time, excluded.end_time)",
        run,
    )
    connection.executemany(
        "INSERT OR REPLACE INTO counters VALUES (?, ?)",
        [(_NOTED, run.end), (CONFIRMED, confirmed)],
    )


def move_horizon(connection: sqlite3.Connection, horizon: int) -> None:
    """Note that past sessions that ended by then were dropped."""
    connection.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET value = max(value, excluded.value)",
        (_HORIZON, horizon),
    )


def forget_coverage(connection: sqlite3.Connection, until: int, most: int) -> bool:
    """Delete some of what ended before a time, or before the horizon.

    Return whether there may be more.
    """
    horizon = connection.execute("SELECT value FROM counters WHERE name = ?", (_HORIZON,))
    until = max(until, *(value for (value,) in horizon), 0)
    key = "source, start_time, is_partial"
    deleted = connection.execute(
        f"DELETE FROM coverage WHERE ({key}) IN"  # noqa: S608
        f" (SELECT {key} FROM coverage WHERE end_time < ? LIMIT ?)",
        (until, most),
    ).rowcount
    deleted += connection.execute(
        "DELETE FROM runs WHERE start_time IN"
        " (SELECT start_time FROM runs WHERE end_time < ? LIMIT ?)",
        (until, most),
    ).rowcount
    return deleted >= most


def covered_until(connection: sqlite3.Connection, source: str) -> int | None:
    """Return when a source was last observed, as far as that is written."""
    last = connection.execute("SELECT last_time FROM observed_sources WHERE name = ?", (source,))
    noted = connection.execute("SELECT value FROM counters WHERE name = ?", (_NOTED,))
    # If the clock was set back, the latest time is not the last one.
    times = [*last, *noted]
    return min(times)[0] if len(times) > 1 else None


def read_coverage(
    connection: sqlite3.Connection, policy: HistoryPolicy, start: int, end: int
) -> Coverage:
    """Read what concerns the time from ``start`` to ``end``."""
    intervals = connection.execute(
        "SELECT source, start_time, end_time, is_partial FROM coverage"
        " WHERE end_time >= ? AND start_time <= ? ORDER BY source, start_time",
        (start, end),
    )
    runs = connection.execute(
        "SELECT start_time, end_time, least_duration FROM runs"
        " WHERE end_time >= ? AND start_time - least_duration <= ? ORDER BY start_time",
        (start, end),
    )
    known = connection.execute("SELECT name, first_time, last_time FROM observed_sources")
    statement = "SELECT name, value FROM counters WHERE name IN (?, ?)"
    times = dict(connection.execute(statement, (_HORIZON, CONFIRMED)))
    horizon = times.get(_HORIZON, 0)
    if CONFIRMED in times:
        horizon = max(horizon, policy.horizon(times[CONFIRMED]))
    return Coverage(
        [Interval(source, begin, stop, bool(part)) for source, begin, stop, part in intervals],
        [CoreRun(*run) for run in runs],
        {name: KnownSpan(first, last) for name, first, last in known},
        horizon,
    )
