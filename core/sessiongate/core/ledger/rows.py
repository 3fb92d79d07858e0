"""The rows that one observation of a source writes to a ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import sqlalchemy as sa

from sessiongate.core.ledger.schema import places, sessions, sources
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

    def write(self, connection: sa.Connection, ids: Sequence[int], now: int) -> None:
        """Write the changes; ``ids`` are those of ``opened``, ``now`` is in ns since the epoch."""
        if self.incarnation is not None:
            _replace(connection, sources, self.source, incarnation=self.incarnation)
        if self.place is not None:
            _replace(connection, places, self.source, place=self.place)
        if self.closed:
            for idents in _parts(self.closed):
                marks = ", ".join("?" * len(idents))
                done = f"UPDATE sessions SET closed_time = ? WHERE id IN ({marks})"  # noqa: S608
                connection.exec_driver_sql(done, (now, *idents))
        if self.rekeyed:
            changed = sa.update(sessions).values(key=sa.bindparam("new_key"))
            changed = changed.where(sessions.c.id == sa.bindparam("known_id"))
            keys = [{"new_key": key, "known_id": ident} for key, ident in self.rekeyed.items()]
            connection.execute(changed, keys)
        if self.opened:
            rows = zip(ids, self.opened, strict=True)
            while part := [*islice(rows, _ROWS)]:
                marks = ", ".join(["(?, ?, ?, ?)"] * len(part))
                opened = f"INSERT INTO sessions (id, source, key, connect_time) VALUES {marks}"  # noqa: S608
                values = [(i, self.source, o.key, o.connect_time) for i, o in part]
                connection.exec_driver_sql(opened, tuple(chain.from_iterable(values)))


def open_sessions(connection: sa.Connection) -> defaultdict[str, dict[str, int]]:
    """Return the places of open sessions by source and key; read many in short steps."""
    columns = sessions.c.source, sessions.c.key, sessions.c.id, sessions.c.connect_time
    wanted = sa.select(*columns).where(sessions.c.closed_time.is_(None))
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    pace = Pace()
    rows = connection.execution_options(yield_per=_READ_AT_ONCE).execute(wanted)
    for part in rows.partitions():
        for source, key, ident, time in part:
            found[source][key] = place_of(time, ident)
        pace.sleep()
    return found


def _parts(idents: Sequence[int]) -> Iterator[Sequence[int]]:
    return (idents[start : start + _ROWS] for start in range(0, len(idents), _ROWS))


def _replace(connection: sa.Connection, table: sa.Table, name: str, **values: object) -> None:
    connection.execute(sa.delete(table).where(table.c.name == name))
    connection.execute(sa.insert(table).values(name=name, **values))
