"""Renames a source in a ledger in PostgreSQL, whose shard no core uses meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.ownership import shards_of
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import require_tables
from sessiongate.runtime.core_settings import DEFAULT_SHARD

# Tables with the column that names a source.
_NAMED = (
    *(("open_sessions", "source"), ("past_sessions", "source"), ("coverage", "source")),
    *(("places", "name"), ("sources", "name"), ("observed_sources", "name")),
    *(("shard_sources", "name"), ("first_reads", "source"), ("suspects", "source")),
)
_APPLICATION = "sessiongate ledger rename"
_MEANWHILE = "\x01"  # no source has this name


def sources_of(url: str) -> list[str]:
    """Return the names of the sources that a ledger knows. Raises `LedgerError`."""
    named = " UNION ".join(f"SELECT {column} FROM {table}" for table, column in _NAMED)  # noqa: S608
    with _looking(url) as connection:
        return sorted(name for (name,) in connection.execute(named))


def exchange_names(url: str, old: str, new: str) -> None:
    """Rename a source; if the name is taken, the two exchange names.

    Raises `LedgerError`, also if a core uses the sources' shard, or they have different ones.
    """
    with _looking(url) as connection:
        shards = shards_of(connection, (old, new))
        if len(shards) > 1:
            raise connection.error(
                f"has {old!r} and {new!r} in different shards: {' and '.join(sorted(shards))}"
            )
    (shard,) = shards or {DEFAULT_SHARD}
    steps = ((old, _MEANWHILE), (new, old), (_MEANWHILE, new))
    pen = Pen(LedgerPlace.parse(url), time.time_ns, shard=shard)
    with closing(pen), pen.writing() as connection:
        for table, column in _NAMED:
            for before, after in steps:
                connection.execute(
                    f"UPDATE {table} SET {column} = %s WHERE {column} = %s",  # noqa: S608 - ours
                    *(after, before),
                )


@contextmanager
def _looking(url: str) -> Iterator[LedgerConnection]:
    """Connect only to look, while cores may use the ledger."""
    looking = LedgerConnection(LedgerPlace.parse(url), _APPLICATION)
    with closing(looking) as connection, connection.naming_errors():
        require_tables(connection)
        yield connection
