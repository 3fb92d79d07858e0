"""Reads past sessions from a ledger's tables, by time and by what is known of them.

A class of past sessions (`past.duration_class`) lasted less than a known time, so those of it
that were connected at a moment began in a short range before it. So a question costs what it
finds, however much is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from sessiongate.core.ledger.past import CLASSES, DESCRIBED, PAST, first_start, longest
from sessiongate.core.ledger.past_selector import FOREVER, PastPlace, PastSelector

_COLUMNS = ", ".join(f'p."{column}"' for column in PAST)  # "user" means something else in SQL
_DESCRIBED = ", ".join(f'p."{column}"' for column in DESCRIBED)
_OPEN = f"NULL, p.id, p.source, p.connect_time{', NULL' * 7}, {_DESCRIBED}"
_END, _ID, _START, _REMOTE = map(PAST.index, ("end_time", "id", "connect_time", "remote"))

PastRow: TypeAlias = tuple[Any, ...]  # the values of `PAST`; of an open session, without an end


class PastTables(Protocol):
    """The tables of a ledger's database, as one connection reads them, and its dialect of SQL.

    A question has a ``?`` for each value; in it, ``p`` is a session.
    """

    past: str  # past sessions as ``p``
    by_end: str  # the same, by their end
    by_start: str  # the same, and their entries in the index by class and start
    starts: str  # these entries alone
    entry: str  # the name of such an entry, which has its session's times and its id
    open: str  # open sessions as ``p``
    greatest: str  # the function that returns the greatest of its arguments
    least: str
    is_remote: str | None  # a condition on ``p.remote``; None if the database cannot check it

    def rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an answer of any length, as they are asked for."""

    def first_rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an answer in a strict order, of which few may be asked for."""

    def few_rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a short answer."""

    def define_remote(self, check: Callable[[str | None], bool]) -> None:
        """Let `is_remote` use a check. Do so before a question: not while it is answered."""


def find(tables: PastTables, selector: PastSelector, after: PastPlace | None) -> Iterator[PastRow]:
    """Yield the sessions that follow a place, in order, as they are asked for.

    Of those that have not ended, what the ledger describes may have changed: these are all
    yielded, whatever they are, and `matches` is to be asked of what they are now.
    """
    check = selector.remote
    if check is not None:
        tables.define_remote(check)
    found = (_by_end if selector.by_end else _by_start)(tables, selector, after)
    if check is None or tables.is_remote is not None:
        return found
    return (row for row in found if row[_END] is None or check(row[_REMOTE]))


def find_one(tables: PastTables, ident: int) -> PastRow | None:
    """Return the session with an id."""
    if ident > FOREVER:
        return None  # no database can hold it
    for table, columns in ((tables.past, _COLUMNS), (tables.open, _OPEN)):
        for row in tables.few_rows(f"SELECT {columns} FROM {table} WHERE p.id = ?", (ident,)):  # noqa: S608
            return row
    return None


def place_after(row: PastRow, selector: PastSelector) -> PastPlace:
    """Return the place after a session."""
    time = _end_of(row, selector) if selector.by_end else row[_START]
    return PastPlace(time, row[_ID])


def latest_end(number: int, last_start: int) -> int:
    """Return the latest end of a session of a class that began by ``last_start``."""
    return min(last_start + longest(number), FOREVER)


def _by_start(
    tables: PastTables, selector: PastSelector, after: PastPlace | None
) -> Iterator[PastRow]:
    filters, values = filters_of(tables, selector)
    i = tables.entry
    past_order, past_beyond, past_values = _paging(f"{i}.connect_time", f"{i}.id", selector, after)
    order, beyond, _ = _paging("p.connect_time", "p.id", selector, after)
    low, high = selector.connected
    last = min(high, selector.end)
    found = [
        tables.first_rows(
            f"SELECT {_COLUMNS} FROM {tables.by_start}"  # noqa: S608
            f" WHERE {i}.duration_class = ? AND {i}.connect_time >= ? AND {i}.connect_time < ?"
            f" AND {i}.end_time > ? AND {i}.end_time <= ?{past_beyond}{filters}"
            f" ORDER BY {past_order}",
            (
                *(number, max(low, first_start(selector.start, number)), last, selector.start),
                *(latest_end(number, last), *past_values, *values),
            ),
        )
        for number in range(CLASSES + 1)
    ]
    found.append(
        tables.first_rows(
            f"SELECT {_OPEN} FROM {tables.open}"  # noqa: S608
            f" WHERE p.connect_time >= ? AND p.connect_time < ?{beyond} ORDER BY {order}",
            (low, last, *past_values),
        )
    )
    return heapq.merge(*found, key=lambda row: (row[_START], row[_ID]), reverse=selector.descending)


def _by_end(
    tables: PastTables, selector: PastSelector, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield first what ended within the time asked for, then what went on; or the reverse."""
    parts = (_ended_within, _ended_later, _going_on)
    for part in reversed(parts) if selector.descending else parts:
        yield from part(tables, selector, after)


def _ended_within(
    tables: PastTables, selector: PastSelector, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that ended in the time asked for."""
    until = min(selector.end - 1, selector.as_of)
    if until <= selector.start:
        return
    filters, values = filters_of(tables, selector)
    order, beyond, past_values = _paging("p.end_time", "p.id", selector, after)
    low, high = selector.connected
    yield from tables.first_rows(
        f"SELECT {_COLUMNS} FROM {tables.by_end}"  # noqa: S608
        " WHERE p.end_time > ? AND p.end_time <= ? AND p.connect_time >= ? AND p.connect_time < ?"
        f"{beyond}{filters} ORDER BY {order}",
        (*(selector.start, until, low, min(high, selector.end)), *past_values, *values),
    )


def _ended_later(
    tables: PastTables, selector: PastSelector, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that were connected at the end of that time and have ended since."""
    since = max(selector.start, min(selector.end - 1, selector.as_of))
    yield from sorted(
        (
            row
            for row in _connected(tables, selector, since, selector.as_of)
            if _follows(row, selector, after)
        ),
        key=lambda row: (_end_of(row, selector), row[_ID]),
        reverse=selector.descending,
    )


def _going_on(
    tables: PastTables, selector: PastSelector, after: PastPlace | None
) -> Iterator[PastRow]:
    """Yield the sessions that have not ended, in the order of their ids."""
    if after is not None and after.time != FOREVER:
        if selector.descending:
            return  # these were before
        after = None
    low, high = selector.connected
    order, beyond, past_values = _paging("p.id", "p.id", selector, after)
    found = tables.first_rows(
        f"SELECT {_OPEN} FROM {tables.open}"  # noqa: S608
        f" WHERE p.connect_time >= ? AND p.connect_time < ?{beyond} ORDER BY {order}",
        (low, min(high, selector.end), *past_values),
    )
    # Those that ended since the first page was read.
    since = max(selector.start, selector.as_of)
    late = _connected(tables, selector, since, FOREVER)
    others = sorted(
        (row for row in late if _follows(row, selector, after)),
        key=lambda row: row[_ID],
        reverse=selector.descending,
    )
    yield from heapq.merge(found, others, key=lambda row: row[_ID], reverse=selector.descending)


def _connected(
    tables: PastTables, selector: PastSelector, since: int, until: int
) -> Iterator[PastRow]:
    """Yield the sessions that ended after ``since`` and by ``until``, and began by then."""
    filters, values = filters_of(tables, selector)
    low, high = selector.connected
    last, i = min(high, selector.end), tables.entry
    for number in range(CLASSES + 1):
        yield from tables.rows(
            f"SELECT {_COLUMNS} FROM {tables.by_start}"  # noqa: S608
            f" WHERE {i}.duration_class = ? AND {i}.connect_time >= ? AND {i}.connect_time < ?"
            f" AND {i}.end_time > ? AND {i}.end_time <= ?{filters}",
            (
                *(number, max(low, first_start(since, number)), last),
                *(since, min(until, latest_end(number, last)), *values),
            ),
        )


def filters_of(tables: PastTables, selector: PastSelector) -> tuple[str, list[Any]]:
    """Return conditions on a session, and their values."""
    text, values = "", list[Any]()
    for column, allowed in selector.names.items():
        text += f' AND p."{column}" IN ({", ".join("?" * len(allowed))})'
        values += allowed
    if selector.remote is not None and tables.is_remote is not None:
        text += f" AND {tables.is_remote}"
    return text, values


def _paging(
    column: str, ident: str, selector: PastSelector, after: PastPlace | None
) -> tuple[str, str, tuple[int, ...]]:
    """Return the order, the condition for what follows a place in it, and its values."""
    way, sign = (" DESC", "<") if selector.descending else ("", ">")
    order = f"{ident}{way}" if column == ident else f"{column}{way}, {ident}{way}"
    if after is None:
        return order, "", ()
    if column == ident:
        return order, f" AND {ident} {sign} ?", (after.id,)
    return order, f" AND ({column}, {ident}) {sign} (?, ?)", (after.time, after.id)


def _follows(row: PastRow, selector: PastSelector, after: PastPlace | None) -> bool:
    if after is None:
        return True
    place = (_end_of(row, selector), row[_ID])
    return place < after if selector.descending else place > after


def _end_of(row: PastRow, selector: PastSelector) -> int:
    end = row[_END]
    return FOREVER if end is None or end > selector.as_of else int(end)
