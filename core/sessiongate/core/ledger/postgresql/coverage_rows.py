"""The rows that say when each source was observed, and when cores ran; times are in ns."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from sessiongate.core.ledger.coverage import CoreRun, Coverage, Interval, KnownSpan
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.connection import LedgerConnection

# Names of counters: up to when past sessions were dropped, and the last time that was confirmed
# (`ConfirmedClock`).
HORIZON, CONFIRMED = "history_horizon", "history_clock"
_COUNT = (
    "INSERT INTO counters AS c VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = {}"
).format
_SET, _RAISE = _COUNT("excluded.value"), _COUNT("greatest(c.value, excluded.value)")


def save_coverage(
    connection: LedgerConnection,
    shard: int,
    intervals: Sequence[Interval],
    run: CoreRun,
    confirmed: int,
) -> None:
    """Write intervals that began or grew, and how long the core has run; none shrinks."""
    # In one order, so that cores do not wait for each other in a circle.
    intervals = sorted(intervals)
    with connection.waiting() as raw:
        cursor = raw.cursor()
        cursor.executemany(
            "INSERT INTO coverage AS c (source, start_time, end_time, is_partial)"
            " VALUES (%s, %s, %s, %s) ON CONFLICT (source, start_time, is_partial)"
            " DO UPDATE SET end_time = greatest(c.end_time, excluded.end_time)",
            intervals,
        )
        cursor.executemany(
            "INSERT INTO observed_sources AS o VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE"
            " SET first_time = least(o.first_time, excluded.first_time),"
            " last_time = greatest(o.last_time, excluded.last_time)",
            [itemgetter(0, 1, 2)(each) for each in intervals],
        )
    connection.execute(
        "INSERT INTO runs AS r VALUES (%s, %s, %s, %s) ON CONFLICT (shard, start_time)"
        " DO UPDATE SET end_time = greatest(r.end_time, excluded.end_time)",
        *(shard, *run),
    )
    connection.execute("UPDATE shards SET noted = %s WHERE number = %s", run.end, shard)
    connection.execute(_SET, CONFIRMED, confirmed)


def raise_horizon(connection: LedgerConnection, horizon: int) -> None:
    """Note that past sessions that ended by then were dropped."""
    raise_counter(connection, HORIZON, horizon)


def raise_counter(connection: LedgerConnection, name: str, value: int) -> None:
    """Make sure that a counter has a value, or a higher one."""
    connection.execute(_RAISE, name, value)


def drop_coverage(connection: LedgerConnection, until: int, most: int) -> bool:
    """Delete some of what ended before a time, or before the horizon.

    Return whether there may be more.
    """
    until = max(until, _counters(connection).get(HORIZON, 0))
    deleted = connection.execute(
        "DELETE FROM coverage WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM coverage WHERE end_time < %s LIMIT %s))",
        *(until, most),
    ).rowcount
    deleted += connection.execute(
        "DELETE FROM runs WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM runs WHERE end_time < %s LIMIT %s))",
        *(until, most),
    ).rowcount
    return deleted >= most


def observed_until(connection: LedgerConnection, shard: int, source: str) -> int | None:
    """Return when a source was last observed, as far as that is written."""
    # If the clock was set back, the latest time is not the last one.
    found = connection.execute(
        "SELECT least(o.last_time, s.noted) FROM observed_sources o, shards s"
        " WHERE o.name = %s AND s.number = %s AND s.noted IS NOT NULL",
        *(source, shard),
    ).fetchone()
    return None if found is None else int(found[0])


def confirmed_time(connection: LedgerConnection) -> int | None:
    """Return the last time that was confirmed, in ns since the epoch."""
    return _counters(connection).get(CONFIRMED)


def coverage_of(
    connection: LedgerConnection, policy: HistoryPolicy, start: int, end: int
) -> Coverage:
    """Read what concerns the time from ``start`` to ``end``."""
    intervals = connection.execute(
        "SELECT source, start_time, end_time, is_partial FROM coverage"
        " WHERE end_time >= %s AND start_time <= %s ORDER BY source, start_time",
        *(start, end),
    )
    runs = connection.execute(
        "SELECT start_time, end_time, least_duration FROM runs"
        " WHERE end_time >= %s AND start_time - least_duration <= %s ORDER BY start_time",
        *(start, end),
    )
    known = connection.execute("SELECT name, first_time, last_time FROM observed_sources")
    times = _counters(connection)
    horizon = times.get(HORIZON, 0)
    if CONFIRMED in times:
        horizon = max(horizon, policy.horizon(times[CONFIRMED]))
    return Coverage(
        [Interval(*row) for row in intervals],
        [CoreRun(*run) for run in runs],
        {name: KnownSpan(first, last) for name, first, last in known},
        horizon,
    )


def _counters(connection: LedgerConnection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, value FROM counters").fetchall())
