"""InnoDB's transactions in a MariaDB or MySQL server, and which of them wait for which.

The server answers from a copy, and makes a new one only if nobody has read it for 0.1 s: if
many read it, it may be of any age. So it is read within a transaction, and a reading counts only
if it shows that transaction running this very query. To make a copy, the server holds locks that
all transactions need, the longer the more of them wait for each other: it is left alone for ten
times as long as the last reading took.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.moments import LATEST
from sessiongate.core.sources.support.mysql_cells import decoded, integer
from sessiongate.core.sources.support.mysql_dialect import LockTables
from sessiongate.core.sources.support.pacing import Pace, mapped
from sessiongate.core.sources.support.stability import TOLERANCE
from sessiongate.core.sources.support.thread_activity import Transaction, Transactions

HAS_INNODB = "SELECT 1 FROM information_schema.INNODB_TRX LIMIT 0"

# Sends a statement; returns its rows.
Ask: TypeAlias = Callable[[str], Awaitable[Sequence[Sequence[Cell]]]]

_COPY_KEPT = 0.11  # seconds after the last reading, until the server makes a new copy
_REST = 10  # times as long as the last reading took
_BEGIN, _END = "START TRANSACTION WITH CONSISTENT SNAPSHOT", "COMMIT"
# If more transactions wait, mostly for each other, only those that do not wait themselves are
# read as blockers: the number of pairs grows with the square.
_FEW_WAITING = 100
MAX_PAIRS = 20_000
_UNNAMED_LOCK = "LOCK WAIT"  # the state of a transaction that waits

# The times are in the zone of the server's operating system, which is the session's.
_TRANSACTIONS = (
    "SELECT trx_id, trx_mysql_thread_id, UNIX_TIMESTAMP(trx_started),"
    " UNIX_TIMESTAMP(trx_wait_started), trx_requested_lock_id,"
    " CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED),"
    " IF(trx_mysql_thread_id = CONNECTION_ID(), trx_query, NULL)"
    " FROM information_schema.INNODB_TRX LIMIT {} /* reading {} */"
)


class _Row(NamedTuple):
    """One transaction, as the query above selects it."""

    ident: Cell
    thread: Cell
    started: Cell  # seconds since the epoch, by the server's clock
    waits_since: Cell
    lock: Cell
    now: Cell  # milliseconds since the epoch, by the server's clock
    own_query: Cell


class InnoDB:
    """Reads the transactions of one server over one connection."""

    def __init__(self, tables: LockTables | None, thread: int, most: int) -> None:
        """Read over the connection of a ``thread``, at most ``most`` transactions.

        ``tables`` are None if the user may not read them: then no blockers are known.
        """
        self._tables = tables
        self._thread = b"%d" % thread
        self._most = most
        self._readings = 0
        self._rests_until = 0.0
        self._last: Mapping[int, Transaction] = {}

    async def read(self, ask: Ask, now: Callable[[], float]) -> Transactions | None:
        """Return all transactions; None if they are not known now.

        ``now`` returns seconds since the epoch. Whatever ``ask`` raises passes; then send
        ``COMMIT``, or end the connection.
        """
        if time.monotonic() < self._rests_until:
            return None
        began = time.monotonic()
        try:
            await ask(_BEGIN)
            rows = await self._rows(ask)
            if rows is None:
                await asyncio.sleep(_COPY_KEPT)
                began = time.monotonic()
                rows = await self._rows(ask)
            moment = now() - (time.monotonic() - began)
            found = None if rows is None else await self._transactions(ask, rows, now())
            await ask(_END)
        finally:
            ended = time.monotonic()
            self._rests_until = ended + max(_COPY_KEPT, _REST * (ended - began))
        if found is None:
            return None
        self._last = found
        return Transactions(moment, found)

    async def _rows(self, ask: Ask) -> Sequence[_Row] | None:
        """Return a new copy's rows; None if the copy is older than this query."""
        self._readings += 1
        query = _TRANSACTIONS.format(self._most, self._readings)
        rows = await mapped(_Row._make, await ask(query), Pace())
        is_new = any(row.thread == self._thread and row.own_query == query.encode() for row in rows)
        return rows if is_new else None

    async def _transactions(
        self, ask: Ask, rows: Sequence[_Row], now: float
    ) -> dict[int, Transaction]:
        waiting = [row for row in rows if row.lock is not None]
        blockers = await self._blockers(ask, rows, len(waiting)) if waiting else {}
        locks = await self._locks(ask) if waiting else {}
        found: dict[int, Transaction] = {}

        def read(row: _Row) -> None:
            # Thread 0: a transaction that was prepared, and whose client has left.
            if (thread := integer(row.thread)) and row.thread != self._thread:
                found[thread] = self._transaction(thread, row, now, blockers, locks)

        await mapped(read, rows, Pace())
        return found

    def _transaction(
        self,
        thread: int,
        row: _Row,
        now: float,
        blockers: Mapping[Cell, set[int]],
        locks: Mapping[Cell, str],
    ) -> Transaction:
        stated = (row.ident, row.started, row.waits_since)
        before = self._last.get(thread)
        if before is not None and before.stated == stated:
            started, since = before.started, before.waits_since
        else:
            started, since = (_moment(cell, row.now, now) for cell in stated[1:])
        if row.lock is None:
            return Transaction(stated, started)
        lock = locks.get(row.lock, _UNNAMED_LOCK)
        return Transaction(stated, started, lock, since, tuple(sorted(blockers.get(row.ident, ()))))

    async def _blockers(
        self, ask: Ask, rows: Sequence[_Row], waiting: int
    ) -> Mapping[Cell, set[int]]:
        """Return the threads that each transaction waits for, by its id."""
        if self._tables is None:
            return {}
        threads = _threads(rows)
        holding = None
        if waiting > _FEW_WAITING:
            idents = (integer(row.ident) for row in rows if row.lock is None)
            holding = sorted({ident for ident in idents if ident})
            if not holding:
                return {}
        blockers: dict[Cell, set[int]] = {}

        def read(pair: Sequence[Cell]) -> None:
            requesting, blocking = pair
            if requesting in threads and blocking in threads:
                blockers.setdefault(requesting, set()).add(threads[blocking])

        query = self._tables.pairs_query(MAX_PAIRS, holding)
        await mapped(read, await ask(query), Pace())
        return blockers

    async def _locks(self, ask: Ask) -> Mapping[Cell, str]:
        """Return what to call each lock that is waited for, by its id."""
        if self._tables is None or self._tables.locks is None:
            return {}
        table = self._tables.locks
        query = f"SELECT lock_id, lock_type, lock_mode, lock_table FROM {table} LIMIT {self._most}"  # noqa: S608 - all constants
        return {
            ident: " ".join(decoded(part) for part in parts if part is not None)
            for ident, *parts in await ask(query)
        }


def _threads(rows: Sequence[_Row]) -> Mapping[Cell, int]:
    """Return the thread of each transaction by its id; some have none of their own."""
    counts = Counter(row.ident for row in rows)
    return {
        row.ident: thread
        for row in rows
        if counts[row.ident] == 1 and (thread := integer(row.thread))
    }


def _moment(stated: Cell, server_now: Cell, now: float) -> float | None:
    """Convert a time of the server's clock to this machine's; None if it cannot be."""
    seconds, milliseconds = integer(stated), integer(server_now)
    if seconds is None or milliseconds is None:
        return None
    skew = milliseconds / 1000 - now
    moment = seconds - (skew if abs(skew) > TOLERANCE else 0.0)
    return moment if 0 <= moment <= min(now + TOLERANCE, LATEST) else None
