"""Keeps the partitions of past sessions: makes them ahead, and drops what is no longer kept.

It has a connection and a thread of its own, so that no write waits for it, and it works while it
has the lock for it: of several cores, one does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psycopg

from sessiongate.core.ledger.base import HistorySize
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.coverage_rows import drop_coverage, raise_horizon
from sessiongate.core.ledger.postgresql.locks import UPKEEP, try_lock, unlock
from sessiongate.core.ledger.postgresql.partitions import (
    HOUR,
    Partition,
    drop_detached,
    drop_partition,
    first_end,
    is_timeout,
    make_partitions,
    partitions,
    used_space,
)
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

_ROWS = 1000  # deleted at once
# How many transactions ago the oldest one began whose snapshot keeps old rows, as far as this role
# may know.
_OLDEST = """
SELECT greatest((SELECT max(age(backend_xmin)) FROM pg_stat_activity),
    (SELECT max(age(xmin)) FROM pg_replication_slots),
    (SELECT max(age(transaction)) FROM pg_prepared_xacts), 0)
"""
_LOOK = 0.05  # seconds
_LOOK_EVERY = 60.0  # seconds between two measurements of what is kept, unless something was dropped
_PRECISE = 24 * HOUR  # ns: what is kept for less than this is dropped row by row as it grows old


class Upkeep:
    """The partitions of one ledger; all calls but `cut` come from one thread."""

    def __init__(self, place: LedgerPlace, name: str, policy: HistoryPolicy) -> None:
        self._place = place
        self._name = f"{name} upkeep"[:63]
        self._policy = policy
        self._connection: LedgerConnection | None = None
        self.size = HistorySize(0, 0, None)  # when it was last measured
        self._looked_at = -_LOOK_EVERY  # on the clock `elapsed`
        self._has_dropped = False  # since then
        self.oldest_xmin = 0  # age, in transactions, of the oldest snapshot
        self.last_end = 0  # ns since the epoch: the last end for which there is a partition

    def cut(self) -> None:
        """Make what waits for the server fail; any thread may call this."""
        connection = self._connection
        if connection is not None:
            connection.cut()

    @property
    def waits_for(self) -> float:
        """Seconds for which the server has not answered a statement."""
        connection = self._connection
        return 0.0 if connection is None else connection.waits_for

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def make(self, now: int) -> None:
        """Make the partitions that are missing ``now``, in ns since the epoch.

        Raises `LedgerError`.
        """
        self._locked(lambda connection: self._make(connection, now))
        while not self.last_end:  # another core is making the first ones
            time.sleep(_LOOK)
            self._locked(lambda connection: self._make(connection, now))

    def trim(self, now: int) -> bool:
        """Make and drop partitions; return whether there may be more to drop.

        Raises `LedgerError`.
        """
        return self._locked(lambda connection: self._trim(connection, now)) or False

    def _locked(self, work: Callable[[LedgerConnection], bool | None]) -> bool | None:
        """Do what whoever has the lock does; others only look."""
        if self._connection is None or self._connection.is_lost:
            self.close()
            self._connection = LedgerConnection(self._place, self._name)
        connection = self._connection
        with connection.naming_errors():
            is_locked = try_lock(connection, UPKEEP)
            result = None
            try:
                if is_locked:
                    result = work(connection)
            finally:
                if is_locked and not connection.is_lost:
                    unlock(connection, UPKEEP)
            self._look(connection)
        return result

    def _look(self, connection: LedgerConnection) -> None:
        """Read what is kept; of what takes long with many partitions, only what may differ."""
        parts = partitions(connection)
        self.last_end = parts[-1].high - 1 if parts else 0
        ((self.oldest_xmin,),) = connection.execute(_OLDEST)
        ((rows,),) = connection.execute(
            "SELECT coalesce(sum(past_rows), 0)::bigint"
            " - (SELECT value FROM counters WHERE name = 'past_dropped') FROM shards"
        )
        _, size, oldest = self.size
        if self._has_dropped or elapsed() - self._looked_at > _LOOK_EVERY:
            self._has_dropped, self._looked_at = False, elapsed()
            size, oldest = used_space(connection), first_end(connection, parts)
        self.size = HistorySize(rows, size, oldest)

    def _make(self, connection: LedgerConnection, now: int) -> None:
        make_partitions(connection, now)
        try:
            self._count_dropped(connection, drop_detached(connection))
        except psycopg.Error as error:
            if not is_timeout(error):
                raise
            log.info("partitions that were detached are dropped later: one is being read")

    def _trim(self, connection: LedgerConnection, now: int) -> bool:
        self._make(connection, now)
        horizon = self._policy.horizon(now)
        parts = partitions(connection)
        for part in parts:
            if part.is_pending:  # until it is gone, the server detaches no other
                return self._drop(connection, part)
        oldest, *others = parts
        if self.size.size > self._policy.most_bytes:
            return self._drop_oldest(connection, oldest, others, now)
        for part in others:
            if part.high <= horizon:
                return self._drop(connection, part)
        if self._policy.age is None or self._policy.age < _PRECISE:
            until = horizon
        else:
            until = min(horizon, oldest.high)  # the first partition stays, without its rows
        return self._delete(connection, until) or drop_coverage(connection, horizon, _ROWS)

    def _drop_oldest(
        self, connection: LedgerConnection, first: Partition, others: list[Partition], now: int
    ) -> bool:
        """Drop the oldest of what is kept, whatever its age, but nothing of this hour."""
        if self._delete(connection, first.high):
            return True
        for part in others:
            if part.high <= now:
                return self._drop(connection, part)
        return False

    def _drop(self, connection: LedgerConnection, part: Partition) -> bool:
        """Drop a partition; return whether that was possible."""
        raise_horizon(connection, part.high - 1)
        try:
            rows = drop_partition(connection, part)
        except psycopg.Error as error:
            if not is_timeout(error):
                raise
            log.info("the partition %s is dropped later: it is being read", part.name)
            return False
        self._count_dropped(connection, rows)
        return True

    def _delete(self, connection: LedgerConnection, until: int) -> bool:
        """Delete some past sessions that ended before a time; return whether there may be more."""
        with connection.transaction():
            found = connection.execute(
                "WITH old AS (SELECT end_time, id FROM past_sessions WHERE end_time < %s"
                " ORDER BY end_time, id LIMIT %s),"
                " gone AS (DELETE FROM past_sessions AS p USING old"
                " WHERE p.end_time = old.end_time AND p.id = old.id AND p.end_time < %s"
                " RETURNING p.end_time) SELECT max(end_time), count(*) FROM gone",
                *(until, _ROWS, until),
            ).fetchone()
            last, rows = found or (None, 0)
            if rows:
                raise_horizon(connection, last)
                self._count_dropped(connection, rows)
        return bool(rows == _ROWS)

    def _count_dropped(self, connection: LedgerConnection, rows: int) -> None:
        if rows:
            self._has_dropped = True
            connection.execute(
                "UPDATE counters SET value = value + %s WHERE name = 'past_dropped'", rows
            )
