"""Counts past sessions in a ledger's tables: how many were connected at each of some moments.

A question costs what it counts. Sessions of a class (`past.duration_class`) that are shorter than
the time between two moments are looked for at each moment, so that those between them cost
nothing; longer ones are read once, however many moments they span.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sessiongate.core.ledger.history import PastTables, filters_of, latest_end
from sessiongate.core.ledger.past import CLASSES, DESCRIBED, first_start, longest
from sessiongate.core.ledger.past_selector import Counted, Moments, PastSelector

_DESCRIBED = ", ".join(f'p."{column}"' for column in DESCRIBED)


def ended_counts(
    tables: PastTables, selector: PastSelector, moments: Moments, column: str | None
) -> Iterator[Counted]:
    """Yield the numbers of sessions that have ended, by a column if there is one."""
    if selector.remote is not None:
        tables.define_remote(selector.remote)
    filters, values = filters_of(tables, selector)
    value = f'p."{column}"' if column else "NULL"
    check = selector.remote if tables.is_remote is None else None
    remote = "NULL" if check is None else "p.remote"  # is looked at here, not by the database
    i = tables.entry
    table = tables.by_start if column or filters or check else tables.starts
    low, high = selector.connected[0], selector.connected[1] - 1
    matching = (
        f"FROM {table} WHERE {i}.duration_class = ? AND {i}.connect_time >= ?"
        f" AND {i}.connect_time <= ? AND {i}.end_time > ? AND {i}.end_time <= ?{filters}"
    )
    at_one = f"SELECT {value}, {remote}, COUNT(*) {matching} GROUP BY 1, 2"
    at_some = (
        f"SELECT {value}, {remote}, {tables.greatest}(({i}.connect_time - ? + ? - 1) / ?, 0),"
        f" {tables.least}(({i}.end_time - ? + ? - 1) / ?, ?), COUNT(*) {matching}"
        " GROUP BY 1, 2, 3, 4"
    )
    start, step = moments.start, moments.step
    for number in range(CLASSES + 1):
        if longest(number) < step:
            for index in range(moments.number):
                moment = moments[index]
                begin, last = max(low, first_start(moment, number)), min(high, moment)
                asked = (number, begin, last, moment, latest_end(number, last), *values)
                for found, where, count in tables.few_rows(at_one, asked):
                    if check is None or check(where):
                        yield Counted(found or None, index, index + 1, count)
        else:
            begin, last = max(low, first_start(start, number)), min(high, moments.last)
            asked = (number, begin, last, start, latest_end(number, last), *values)
            places = (start, step, step, start, step, step, moments.number)
            for found, where, first, stop, count in tables.few_rows(at_some, (*places, *asked)):
                if check is None or check(where):
                    yield Counted(found or None, first, stop, count)


def open_rows(
    tables: PastTables, selector: PastSelector, until: int
) -> Iterator[tuple[int, str, int, tuple[Any, ...]]]:
    """Yield the sessions that have not ended, and began by then: id, source, start, description.

    As with `history.find`, what is known of them now has to be asked for, and whether it matches.
    """
    low, high = selector.connected
    for ident, source, start, *described in tables.rows(
        f"SELECT p.id, p.source, p.connect_time, {_DESCRIBED} FROM {tables.open}"  # noqa: S608
        " WHERE p.connect_time >= ? AND p.connect_time <= ?",
        (low, min(high - 1, until)),
    ):
        yield ident, source, start, tuple(described)
