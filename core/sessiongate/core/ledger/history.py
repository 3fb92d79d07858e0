"""Reads past sessions from a ledger's database, by time and by what is known of them.

A class of past sessions (`past.duration_class`) lasted less than a known time, so those of it
that were connected at a moment began in a short range before it. So a question costs what it
finds, however much is kept.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator
from typing import Any, TypeAlias

from sessiongate.core.ledger.past import CLASSES, DESCRIBED, PAST, first_start
from sessiongate.core.ledger.question import FOREVER, PastPlace, Wanted

_COLUMNS = ", ".join(f"p.{column}" for column in PAST)
# Sessions by class and start: SQLite would look up each entry of the index in the table, which
# has no row numbers, before it looks at its end; so only those that remain are joined with it.
BY_START = "past_sessions AS i INDEXED BY past_by_start"
JOINED = f"{BY_START} CROSS JOIN past_sessions AS p ON p.end_time = i.end_time AND p.id = i.id"
_OPEN = f"NULL, id, source, connect_time{', NULL' * 7}, {', '.join(DESCRIBED)}"
_END, _ID, _START = PAST.index("end_time"), PAST.index("id"), PAST.index("connect_time")

PastRow: TypeAlias = tuple[Any, ...]  # the values of `PAST`; of an open session, without an end


def find(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that follow a place, in order, as they are asked for.

    Of those that have not ended, what the ledger describes may have changed: these are all
    yielded, whatever they are, and `matches` is to be asked of what they are now.
    """
    define_remote(connection, wanted)
    if wanted.by_end:
        return _by_end(connection, wanted, after)
    return _by_start(connection, wanted, after)


def find_one(connection: sqlite3.Connection, ident: int) -> PastRow | None:
    """Return the session with an id."""
    if ident > FOREVER:
        return None  # SQLite cannot hold it
    for table, columns in (("past_sessions", _COLUMNS), ("open_sessions", _OPEN)):
        wanted = f"SELECT {columns} FROM {table} AS p WHERE id = ?"  # noqa: S608
        for row in connection.execute(wanted, (ident,)):
            return tuple(row)
    return None


def place_after(row: PastRow, wanted: Wanted) -> PastPlace:
    """Return the place after a session."""
    time = _end_of(row, wanted) if wanted.by_end else row[_START]
    return PastPlace(time, row[_ID])


def _by_start(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    filters, values = filters_of(wanted)
    past_order, past_beyond, past_values = _paging("connect_time", wanted, after, "i.")
    order, beyond, _ = _paging("connect_time", wanted, after)
    low, high = wanted.connected
    found = [
        connection.execute(
            f"SELECT {_COLUMNS} FROM {JOINED}"  # noqa: S608
            " WHERE i.duration_class = ? AND i.connect_time >= ? AND i.connect_time < ?"
            f" AND i.end_time > ?{past_beyond}{filters} ORDER BY {past_order}",
            (
                *(number, max(low, first_start(wanted.start, number)), min(high, wanted.end)),
                *(wanted.start, *past_values, *values),
            ),
        )
        for number in range(CLASSES + 1)
    ]
    found.append(
        connection.execute(
            f"SELECT {_OPEN} FROM open_sessions"  # noqa: S608
            f" WHERE connect_time >= ? AND connect_time < ?{beyond} ORDER BY {order}",
            (low, min(high, wanted.end), *past_values),
        )
    )
    return heapq.merge(*found, key=lambda row: (row[_START], row[_ID]), reverse=wanted.descending)


def _by_end(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield first what ended within the time asked for, then what went on; or the reverse."""
    parts = (_ended_within, _ended_later, _going_on)
    for part in reversed(parts) if wanted.descending else parts:
        yield from part(connection, wanted, after)


def _ended_within(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that ended in the time asked for."""
    until = min(wanted.end - 1, wanted.as_of)
    if until <= wanted.start:
        return
    filters, values = filters_of(wanted)
    order, beyond, past_values = _paging("end_time", wanted, after)
    low, high = wanted.connected
    yield from connection.execute(
        f"SELECT {_COLUMNS} FROM past_sessions AS p NOT INDEXED"  # noqa: S608
        " WHERE end_time > ? AND end_time <= ? AND connect_time >= ? AND connect_time < ?"
        f"{beyond}{filters} ORDER BY {order}",
        (*(wanted.start, until, low, min(high, wanted.end)), *past_values, *values),
    )


def _ended_later(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that were connected at the end of that time and have ended since."""
    since = max(wanted.start, min(wanted.end - 1, wanted.as_of))
    yield from sorted(
        (
            row
            for row in _connected(connection, wanted, since, wanted.as_of)
            if _follows(row, wanted, after)
        ),
        key=lambda row: (_end_of(row, wanted), row[_ID]),
        reverse=wanted.descending,
    )


def _going_on(
    connection: sqlite3.Connection, wanted: Wanted, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that have not ended, in the order of their ids."""
    if after is not None and after.time != FOREVER:
        if wanted.descending:
            return  # these were before
        after = None
    low, high = wanted.connected
    order, beyond, past_values = _paging("id", wanted, after)
    found = connection.execute(
        f"SELECT {_OPEN} FROM open_sessions"  # noqa: S608
        f" WHERE connect_time >= ? AND connect_time < ?{beyond} ORDER BY {order}",
        (low, min(high, wanted.end), *past_values),
    )
    # Those that ended since the first page was read.
    since = max(wanted.start, wanted.as_of)
    late = _connected(connection, wanted, since, FOREVER)
    others = sorted(
        (row for row in late if _follows(row, wanted, after)),
        key=lambda row: row[_ID],
        reverse=wanted.descending,
    )
    yield from heapq.merge(found, others, key=lambda row: row[_ID], reverse=wanted.descending)


def _connected(
    connection: sqlite3.Connection, wanted: Wanted, since: int, until: int
) -> Iterator[PastRow]:
    """Yield the sessions that ended after ``since`` and by ``until``, and began by then."""
    filters, values = filters_of(wanted)
    low, high = wanted.connected
    for number in range(CLASSES + 1):
        yield from connection.execute(
            f"SELECT {_COLUMNS} FROM {JOINED}"  # noqa: S608
            " WHERE i.duration_class = ? AND i.connect_time >= ? AND i.connect_time < ?"
            f" AND i.end_time > ? AND i.end_time <= ?{filters}",
            (
                *(number, max(low, first_start(since, number)), min(high, wanted.end)),
                *(since, until, *values),
            ),
        )


def define_remote(connection: sqlite3.Connection, wanted: Wanted) -> None:
    """Let a connection check addresses. Do so before a question: not while it is being read."""
    if wanted.remote is not None:
        connection.create_function("is_remote", 1, wanted.remote, deterministic=True)


def filters_of(wanted: Wanted) -> tuple[str, list[Any]]:
    """Return conditions on a session, and their values; `define_remote` comes first."""
    text, values = "", list[Any]()
    for column, allowed in wanted.names.items():
        text += f" AND p.{column} IN ({', '.join('?' * len(allowed))})"
        values += allowed
    if wanted.remote is not None:
        text += " AND is_remote(p.remote)"
    return text, values


def _paging(
    column: str, wanted: Wanted, after: PastPlace | None, of: str = ""
) -> tuple[str, str, tuple[int, ...]]:
    """Return the order, the condition for what follows a place in it, and its values."""
    way, sign = (" DESC", "<") if wanted.descending else ("", ">")
    order = f"{of}id{way}" if column == "id" else f"{of}{column}{way}, {of}id{way}"
    if after is None:
        return order, "", ()
    if column == "id":
        return order, f" AND id {sign} ?", (after.id,)
    return order, f" AND ({of}{column}, {of}id) {sign} (?, ?)", (after.time, after.id)


def _follows(row: PastRow, wanted: Wanted, after: PastPlace | None) -> bool:
    if after is None:
        return True
    place = (_end_of(row, wanted), row[_ID])
    return place < after if wanted.descending else place > after


def _end_of(row: PastRow, wanted: Wanted) -> int:
    end = row[_END]
    return FOREVER if end is None or end > wanted.as_of else int(end)
