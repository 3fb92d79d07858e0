"""Counts past sessions in a ledger's database: how many were connected at each of some moments.

A question costs what it counts. Sessions of a class (`past.duration_class`) that are shorter than
the time between two moments are looked for at each moment, so that those between them cost
nothing; longer ones are read once, however many moments they span.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from sessiongate.core.ledger.history import BY_START, JOINED, define_remote, filters_of
from sessiongate.core.ledger.past import CLASSES, DESCRIBED, first_start
from sessiongate.core.ledger.question import Counted, Moments, Wanted

_OPEN = f"SELECT id, source, connect_time, {', '.join(DESCRIBED)} FROM open_sessions"  # noqa: S608


def ended_counts(
    connection: sqlite3.Connection, wanted: Wanted, moments: Moments, column: str | None
) -> Iterator[Counted]:
    """Yield the numbers of sessions that have ended, by a column if there is one."""
    define_remote(connection, wanted)
    filters, values = filters_of(wanted)
    value = f"p.{column}" if column else "NULL"
    table = JOINED if column or filters else BY_START
    low, high = wanted.connected[0], wanted.connected[1] - 1
    matching = (
        f"FROM {table} WHERE i.duration_class = ?"
        f" AND i.connect_time >= ? AND i.connect_time <= ? AND i.end_time > ?{filters}"
    )
    at_one = f"SELECT {value}, COUNT(*) {matching} GROUP BY 1"
    at_some = (
        f"SELECT {value}, max((i.connect_time - ?1 + ?2 - 1) / ?2, 0),"
        f" min((i.end_time - ?1 + ?2 - 1) / ?2, ?3), COUNT(*) {matching} GROUP BY 1, 2, 3"
    )
    for number in range(CLASSES + 1):
        is_shorter = moments.start - first_start(moments.start, number) < moments.step
        if is_shorter:
            for index in range(moments.number):
                moment = moments[index]
                begin = max(low, first_start(moment, number))
                for found, count in connection.execute(
                    at_one, (number, begin, min(high, moment), moment, *values)
                ):
                    yield Counted(found or None, index, index + 1, count)
        else:
            begin = max(low, first_start(moments.start, number))
            asked = (number, begin, min(high, moments.last), moments.start, *values)
            for found, first, stop, count in connection.execute(
                at_some, (moments.start, moments.step, moments.number, *asked)
            ):
                yield Counted(found or None, first, stop, count)


def open_rows(
    connection: sqlite3.Connection, wanted: Wanted, until: int
) -> Iterator[tuple[int, str, int, tuple[Any, ...]]]:
    """Yield the sessions that have not ended, and began by then: id, source, start, description.

    As with `history.find`, what is known of them now has to be asked for, and whether it matches.
    """
    low, high = wanted.connected
    for ident, source, start, *described in connection.execute(
        f"{_OPEN} WHERE connect_time >= ? AND connect_time <= ?", (low, min(high - 1, until))
    ):
        yield ident, source, start, tuple(described)
