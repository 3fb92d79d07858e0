"""Copies a ledger's file into an empty ledger in PostgreSQL, which takes its place.

The file is locked meanwhile, and marked as moved at the end: a core refuses it from then on. Until
then, a core refuses the copy: it has a counter that says so. A copy that was interrupted is begun
again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from sessiongate.core.ledger.database import counters
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import OPEN_SESSION, PAST
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import copy_into, lines_of, quoted_columns
from sessiongate.core.ledger.postgresql.coverage_rows import CONFIRMED, HORIZON, raise_counter
from sessiongate.core.ledger.postgresql.partitions import HOUR, make_partitions
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.rows import adjusted
from sessiongate.core.ledger.postgresql.schema import COPYING, DEFAULT_NUMBER
from sessiongate.core.ledger.postgresql.script import Copy
from sessiongate.core.ledger.postgresql.starts import INSTANCE_BITS
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.ledger.store import LedgerStore

# Reports how many rows of how many were copied.
CopyProgress = Callable[[int, int], None]

_ROWS = 10_000  # in a transaction
_LONGEST = 1000 * HOUR  # ns that have a partition for each hour; what is older shares one
# Each table with its columns, in an order that can be read in parts.
_TABLES = (
    ("open_sessions", OPEN_SESSION, "id"),
    ("past_sessions", PAST, "end_time, id"),
    ("sources", ("name", "incarnation"), "name"),
    ("places", ("name", "place"), "name"),
    ("coverage", ("source", "start_time", "is_partial", "end_time"), "source, start_time"),
    ("observed_sources", ("name", "first_time", "last_time"), "name"),
    ("runs", ("start_time", "end_time", "least_duration"), "start_time"),
)


async def copy_ledger(url: str, to: str, progress: CopyProgress) -> int:
    """Copy the file at a URL to the ledger at another; return how many sessions it has.

    Raises `LedgerError`, also if a core uses either of them.
    """
    pen = Pen(LedgerPlace.parse(to), time.time_ns, takes_unfinished=True)
    ledger = await SqliteLedger.open(url, now=time.time_ns, to_move=True)
    try:
        return await ledger.maintain(lambda store: _copy(store, pen, progress))
    finally:
        await ledger.close()
        pen.close()


def _copy(store: LedgerStore, pen: Pen, progress: CopyProgress) -> int:
    connection, file = pen.connection, store.database.connection
    with connection.naming_errors():
        _empty(connection, store.moved_to)
        now = time.time_ns()
        ((since,),) = file.execute(
            "SELECT min(end_time) FROM past_sessions WHERE end_time BETWEEN ? AND ?",
            (now - _LONGEST, now),
        )
        last_end = make_partitions(connection, now, since) - 1
        sizes = [
            int(file.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
            for table, *_ in _TABLES
        ]
        done = 0
        for table, columns, order in _TABLES:
            stated = ("shard", *columns) if table == "runs" else columns
            for lines, rows in _parts(file, table, columns, order, last_end):
                with connection.transaction():
                    connection.script(Copy(copy_into(table, stated), [lines]))
                done += rows
                progress(done, sum(sizes))
        store.mark_as_moved(str(pen.place))
        _finish(connection, store, sizes[1])
    return sizes[0] + sizes[1]


def _empty(connection: LedgerConnection, moved_to: str | None) -> None:
    """Note that a copy is under way, and drop what an interrupted one has left."""
    with connection.transaction():
        begun = connection.execute("SELECT FROM counters WHERE name = %s", COPYING).rowcount
        if moved_to is not None and not begun:
            raise LedgerError(f"the ledger was already moved to {moved_to}")
        names = [table for table, *_ in _TABLES]
        for table in [] if begun else names:
            if connection.execute(f"SELECT FROM {table} LIMIT 1").rowcount:
                raise connection.error("is not empty: copy into a database without a ledger")
        connection.execute(f"TRUNCATE {', '.join(names)}")
        if not begun:
            connection.execute("INSERT INTO counters VALUES (%s, 1)", COPYING)


def _parts(
    file: sqlite3.Connection, table: str, columns: Sequence[str], order: str, last_end: int
) -> Iterator[tuple[bytes, int]]:
    """Yield the rows of a table as lines of a COPY, some at a time, with their number."""
    names = quoted_columns(columns)
    question = f"SELECT {names} FROM {table} ORDER BY {order}"  # noqa: S608 - our own names
    with closing(file.execute(question)) as rows:
        while part := rows.fetchmany(_ROWS):
            if table == "past_sessions":
                part = [adjusted([*row], last_end) for row in part]
            elif table == "runs":
                part = [(DEFAULT_NUMBER, *row) for row in part]
            yield lines_of(part), len(part)


def _finish(connection: LedgerConnection, store: LedgerStore, past: int) -> None:
    """Continue the file's ids, revisions and history; from now on a core may use the copy."""
    known = counters(store.database.connection)
    continued = {
        "id": store.next_id - 1,
        "instance": known["revision"] >> INSTANCE_BITS,
        **{name: known[name] for name in (HORIZON, CONFIRMED) if name in known},
    }
    with connection.transaction():
        for name, value in continued.items():
            raise_counter(connection, name, value)
        connection.execute(
            "UPDATE shards SET past_rows = %s, noted = %s WHERE number = %s",
            *(past, known.get("history_noted"), DEFAULT_NUMBER),
        )
        connection.execute("DELETE FROM counters WHERE name = %s", COPYING)
