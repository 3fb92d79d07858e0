"""Renames a source in a ledger in PostgreSQL, which no core uses meanwhile."""

from __future__ import annotations

import time
from contextlib import closing

from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace

# Tables with the column that names a source.
_NAMED = (
    *(("open_sessions", "source"), ("past_sessions", "source"), ("coverage", "source")),
    *(("places", "name"), ("sources", "name"), ("observed_sources", "name")),
)
_MEANWHILE = "\x01"  # no source has this name


def sources_of(url: str) -> list[str]:
    """Return the names of the sources that a ledger knows. Raises `LedgerError`."""
    named = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in _NAMED)  # noqa: S608
    with closing(Pen(LedgerPlace.parse(url), time.time_ns)) as pen:
        connection = pen.connection
        with connection.naming_errors():
            return sorted(name for (name,) in connection.execute(named))


def exchange_names(url: str, old: str, new: str) -> None:
    """Rename a source; if the name is taken, the two exchange names. Raises `LedgerError`."""
    steps = ((old, _MEANWHILE), (new, old), (_MEANWHILE, new))
    with closing(Pen(LedgerPlace.parse(url), time.time_ns)) as pen, pen.writing() as connection:
        for table, column in _NAMED:
            for before, after in steps:
                connection.execute(
                    f"UPDATE {table} SET {column} = %s WHERE {column} = %s",  # noqa: S608 - ours
                    *(after, before),
                )
