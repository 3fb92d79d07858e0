"""The parts of the table of past sessions: one for each hour in which sessions ended.

An hour that is no longer kept goes as a whole. Parts are made ahead, attached and detached in
ways that no write waits for: a statement that makes a part within the table, or drops one, waits
for whoever reads it, and each write waits behind it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from sessiongate.core.ledger.postgresql.connection import LedgerConnection

HOUR = 3600 * 10**9
AHEAD = 48 * HOUR  # ns for which parts are made in advance
_PREFIX = "past_sessions_"
_MADE_AT_ONCE = 24  # each has a lock of its own, of which a transaction has a limited number
# Seconds that a part may take to be detached: it waits for whoever reads the table.
_PATIENCE = "'3s'"
_BOUNDS = re.compile(r"FROM \((?:'(-?\d+)'|MINVALUE)\) TO \('(-?\d+)'\)")
_PARTS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'past_sessions'::regclass
"""
_DETACHED = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition
AND relnamespace = 'sessiongate'::regnamespace AND relname LIKE 'past\\_sessions\\_%'
"""
_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'sessiongate'::regnamespace
"""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """The past sessions that ended from ``low``, if there is one, until before ``high``."""

    high: int  # ns since the epoch
    low: int | None
    name: str
    is_pending: bool  # to be detached


def partitions(connection: LedgerConnection) -> list[Partition]:
    """Return the partitions in the order of their times."""
    found = []
    for name, bounds, is_pending in connection.execute(_PARTS):
        matched = _BOUNDS.search(bounds or "")
        if matched is not None:
            low = matched[1]
            found.append(
                Partition(int(matched[2]), None if low is None else int(low), name, is_pending)
            )
    return sorted(found)


def make_partitions(connection: LedgerConnection, now: int, oldest: int | None = None) -> int:
    """Make the partitions that are missing until `AHEAD` of ``now``; return where they end.

    The first one holds whatever ended before ``oldest``, by default ``now``; it stays. After a
    pause, one holds all the hours until ``now``.
    """
    known = partitions(connection)
    top = known[-1].high if known else _hour(now if oldest is None else oldest)
    missing: list[tuple[int | None, int]] = [] if known else [(None, top)]
    if known and top < _hour(now):
        missing.append((top, _hour(now)))
        top = _hour(now)
    missing += ((low, low + HOUR) for low in range(top, _hour(now + AHEAD), HOUR))
    for start in range(0, len(missing), _MADE_AT_ONCE):
        with connection.transaction():
            for low, high in missing[start : start + _MADE_AT_ONCE]:
                _make(connection, low, high)
    return max(high for _, high in missing) if missing else top


def drop_partition(connection: LedgerConnection, partition: Partition) -> int:
    """Detach a partition and drop it; return how many sessions it had.

    If somebody reads the table for long, it stays until another attempt, and is no longer read.
    Raises psycopg's errors.
    """
    connection.execute(f"SET statement_timeout = {_PATIENCE}")
    try:
        how = "FINALIZE" if partition.is_pending else "CONCURRENTLY"
        connection.execute(f"ALTER TABLE past_sessions DETACH PARTITION {partition.name} {how}")
    finally:
        if not connection.is_lost:
            connection.execute("SET statement_timeout = 0")
    return _drop(connection, partition.name)


def drop_detached(connection: LedgerConnection) -> int:
    """Drop what was detached and not dropped; return how many sessions that were."""
    return sum(_drop(connection, name) for (name,) in connection.execute(_DETACHED).fetchall())


def first_end(connection: LedgerConnection, parts: Sequence[Partition]) -> int | None:
    """Return when the first of all past sessions ended, if there is one."""
    for part in parts:
        found = connection.execute(
            f"SELECT end_time FROM {part.name} ORDER BY end_time LIMIT 1"  # noqa: S608 - ours
        ).fetchone()
        if found is not None and not part.is_pending:
            return int(found[0])
    return None


def used_space(connection: LedgerConnection) -> int:
    """Return the bytes of all tables and their indexes."""
    ((size,),) = connection.execute(_SIZE)
    return int(size)


def _make(connection: LedgerConnection, low: int | None, high: int) -> None:
    """Make a partition apart from the table, and attach it, in a transaction that has begun."""
    name = f"{_PREFIX}{'first' if low is None else low // HOUR}"
    since = "MINVALUE" if low is None else f"'{low}'"
    connection.execute(f"CREATE TABLE {name} (LIKE past_sessions)")
    connection.execute(
        f"ALTER TABLE past_sessions ATTACH PARTITION {name} FOR VALUES FROM ({since}) TO ('{high}')"
    )


def _drop(connection: LedgerConnection, name: str) -> int:
    ((rows,),) = connection.execute(f"SELECT count(*) FROM {name}")  # noqa: S608 - ours
    connection.execute(f"DROP TABLE {name}")
    return int(rows)


def _hour(time: int) -> int:
    return time // HOUR * HOUR


def is_timeout(error: psycopg.Error) -> bool:
    """Return whether somebody else's work took too long to wait for."""
    return isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)
