"""The rows that one observation of a source writes to a ledger."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from sessiongate.core.collect.keys import KEY_BYTES, short
from sessiongate.core.ledger.past import (
    DESCRIBED,
    OPEN_SESSION,
    PAST,
    UNDESCRIBED,
    Closing,
    Description,
    Opening,
    ended,
    opening_description,
)
from sessiongate.core.place import place_of
from sessiongate.core.sources.support.pacing import Pace

# Rows and values in one statement: fewer statements take less time; SQLite may allow 999 values.
_ROWS = 200
_VALUES = 900
_READ_AT_ONCE = 1000  # rows, which takes about a millisecond
_DESCRIBED = ", ".join(DESCRIBED)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes by an observation; what is None is not written."""

    source: str
    opened: Sequence[Opening]
    closed: Sequence[Closing]
    incarnation: float | None  # seconds since the epoch
    rekeyed: Mapping[str, int]  # new keys of sessions, with their ids
    place: str | None  # where the source is read from
    observed: int | None = None  # when, in ns since the epoch; None: now

    def write(
        self, connection: sqlite3.Connection, ids: Sequence[int], now: int, least: int | None
    ) -> int:
        """Write the changes; ``ids`` are those of ``opened``, ``now`` is in ns since the epoch.

        Sessions that ended move to the past ones if they lasted ``least`` ns; None: no session.
        Return how many have moved.
        """
        moved = 0
        if self.incarnation is not None:
            connection.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?)", (self.source, self.incarnation)
            )
        if self.place is not None:
            connection.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?)", (self.source, self.place)
            )
        if self.closed:
            moment = now if self.observed is None else self.observed
            moved = self._close(connection, moment, least)
        if self.rekeyed:
            _rekey(connection, [*self.rekeyed.items()])
        if self.opened:
            opened = (
                (ident, self.source, each.key, each.connect_time, *opening_description(each, ident))
                for ident, each in zip(ids, self.opened, strict=True)
            )
            _insert(connection, "open_sessions", OPEN_SESSION, opened)
        return moved

    def _close(self, connection: sqlite3.Connection, now: int, least: int | None) -> int:
        """Move sessions that ended to the past ones, in the order of their ids."""
        moved = 0
        if least is not None:
            ends = [(each.id, each.end(now), each) for each in self.closed]
            kept = [each for each in sorted(ends) if each[1] - each[2].connect_time >= least]
            unseen = [ident for ident, _, closing in kept if closing.seen is None]
            opened = _descriptions(connection, unseen)
            rows = (
                ended(closing, self.source, opened.get(ident, UNDESCRIBED), end)
                for ident, end, closing in kept
            )
            _insert(connection, "past_sessions", PAST, rows)
            moved = len(kept)
        for part in _parts(sorted(each.id for each in self.closed)):
            gone = f"DELETE FROM open_sessions WHERE id IN ({_marks(part)})"  # noqa: S608
            connection.execute(gone, part)
        return moved


def _descriptions(connection: sqlite3.Connection, idents: Sequence[int]) -> dict[int, Description]:
    """Return the values that describe open sessions, as they were when these opened."""
    found: dict[int, Description] = {}
    for part in _parts(idents):
        statement = f"SELECT {_DESCRIBED}, id FROM open_sessions WHERE id IN ({_marks(part)})"  # noqa: S608
        for *description, ident in connection.execute(statement, part):
            found[ident] = tuple(description)
    return found


def open_sessions(connection: sqlite3.Connection) -> defaultdict[str, dict[str, int]]:
    """Return the places of open sessions by source and key; read many in short steps."""
    statement = "SELECT source, key, id, connect_time FROM open_sessions"
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    pace = Pace()
    rows = connection.execute(statement)
    while part := rows.fetchmany(_READ_AT_ONCE):
        for source, key, ident, time in part:
            found[source][key] = place_of(time, ident)
        pace.sleep()
    return found


def shorten_keys(connection: sqlite3.Connection) -> None:
    """Hash long keys of open sessions that an older core wrote, so that their ids stay."""
    size = "length(CAST(key AS BLOB))"
    long = f"SELECT key, id FROM open_sessions WHERE {size} > ?"  # noqa: S608
    found = connection.execute(long, (KEY_BYTES,)).fetchall()
    _rekey(connection, [(short(key), ident) for key, ident in found])


def _rekey(connection: sqlite3.Connection, keys: Sequence[tuple[str, int]]) -> None:
    connection.executemany("UPDATE open_sessions SET key = ? WHERE id = ?", keys)


def _insert(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterator[tuple[Any, ...]],
) -> None:
    """Insert rows, many by one statement: row by row they take almost twice as long."""
    row, at_once = f"({_marks(columns)})", _VALUES // len(columns)
    insertion = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608
    while len(part := [*islice(rows, at_once)]) == at_once:
        connection.execute(insertion + ", ".join([row] * at_once), [*chain.from_iterable(part)])
    connection.executemany(insertion + row, part)  # one statement, however many are left


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _parts(idents: Sequence[int]) -> Iterator[Sequence[int]]:
    return (idents[start : start + _ROWS] for start in range(0, len(idents), _ROWS))
