"""The tables of a ledger."""

from __future__ import annotations

import sqlalchemy as sa

# SQLite's own row number if that is an INTEGER, else it gets an index of its own.
_ROWID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

_metadata = sa.MetaData()
counters = sa.Table(
    "counters",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
sources = sa.Table(
    "sources",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("incarnation", sa.Double, nullable=False),  # seconds since the epoch
)
# The place that each source is read from (`SourceConfig.place`).
places = sa.Table(
    "places",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("place", sa.String, nullable=False),
)
sessions = sa.Table(
    "sessions",
    _metadata,
    sa.Column("id", _ROWID, primary_key=True, autoincrement=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("connect_time", sa.BigInteger, nullable=False),  # ns since the epoch
    sa.Column("closed_time", sa.BigInteger),  # ns since the epoch; null while open
)
# Of closed sessions only: sessions end in any order, and an index of the open ones costs more
# to keep than a scan at the start.
_sessions_by_closed_time = sa.Index(
    "sessions_by_closed_time",
    sessions.c.closed_time,
    sqlite_where=sessions.c.closed_time.is_not(None),
)
# Assigned stated ids that the counter has not passed yet (`core.ledger.numbering`).
kept_ids = sa.Table(
    "kept_ids",
    _metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
)


def create(engine: sa.Engine) -> None:
    """Create what a ledger lacks, and drop the index that earlier versions had."""
    _metadata.create_all(engine)
    with engine.begin() as connection:
        _sessions_by_closed_time.create(connection, checkfirst=True)
        connection.exec_driver_sql("DROP INDEX IF EXISTS sessions_by_state")
