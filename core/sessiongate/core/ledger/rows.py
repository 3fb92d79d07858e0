"""The rows that one observation of a source writes to a ledger."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from sessiongate.core.collect.keys import KEY_BYTES, short
from sessiongate.core.place import place_of
from sessiongate.core.sources.support.pacing import Pace

# Rows in one statement: fewer statements take less time, and SQLite may allow 999 values.
_ROWS = 200
_READ_AT_ONCE = 1000  # rows, which takes about a millisecond


class Opening(NamedTuple):
    """A session seen for the first time."""

    key: str
    connect_time: int  # ns since the epoch
    stated_id: int | None = None  # its id, if that was never assigned


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes by an observation; what is None is not written."""

    source: str
    opened: Sequence[Opening]
    closed: Sequence[int]  # ids
    incarnation: float | None  # seconds since the epoch
    rekeyed: Mapping[str, int]  # new keys of sessions, with their ids
    place: str | None  # where the source is read from

    def write(self, connection: sqlite3.Connection, ids: Sequence[int], now: int) -> None:
        """Write the changes; ``ids`` are those of ``opened``, ``now`` is in ns since the epoch."""
        if self.incarnation is not None:
            connection.execute(
                "INSERT OR REPLACE INTO sources VALUES (?, ?)", (self.source, self.incarnation)
            )
        if self.place is not None:
            connection.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?)", (self.source, self.place)
            )
        if self.closed:
            for idents in _parts(self.closed):
                marks = ", ".join("?" * len(idents))
                done = f"UPDATE sessions SET closed_time = ? WHERE id IN ({marks})"  # noqa: S608
                connection.execute(done, (now, *idents))
        if self.rekeyed:
            _rekey(connection, [*self.rekeyed.items()])
        if self.opened:
            rows = zip(ids, self.opened, strict=True)
            while part := [*islice(rows, _ROWS)]:
                marks = ", ".join(["(?, ?, ?, ?)"] * len(part))
                opened = f"INSERT INTO sessions (id, source, key, connect_time) VALUES {marks}"  # noqa: S608
                values = [(i, self.source, o.key, o.connect_time) for i, o in part]
                connection.execute(opened, tuple(chain.from_iterable(values)))


def open_sessions(connection: sqlite3.Connection) -> defaultdict[str, dict[str, int]]:
    """Return the places of open sessions by source and key; read many in short steps."""
    wanted = "SELECT source, key, id, connect_time FROM sessions WHERE closed_time IS NULL"
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    pace = Pace()
    rows = connection.execute(wanted)
    while part := rows.fetchmany(_READ_AT_ONCE):
        for source, key, ident, time in part:
            found[source][key] = place_of(time, ident)
        pace.sleep()
    return found


def shorten_keys(connection: sqlite3.Connection) -> None:
    """Hash long keys of open sessions that an older core wrote, so that their ids stay."""
    size = "length(CAST(key AS BLOB))"
    long = f"SELECT key, id FROM sessions WHERE closed_time IS NULL AND {size} > ?"  # noqa: S608
    found = connection.execute(long, (KEY_BYTES,)).fetchall()
    _rekey(connection, [(short(key), ident) for key, ident in found])


def _rekey(connection: sqlite3.Connection, keys: Sequence[tuple[str, int]]) -> None:
    connection.executemany("UPDATE sessions SET key = ? WHERE id = ?", keys)


def _parts(idents: Sequence[int]) -> Iterator[Sequence[int]]:
    return (idents[start : start + _ROWS] for start in range(0, len(idents), _ROWS))
