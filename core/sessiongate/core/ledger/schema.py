"""The tables of a ledger."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
sources = sa.Table(
    "sources",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("incarnation", sa.Double, nullable=False),  # seconds since the epoch
)
# The place that each source is read from (`SourceConfig.place`).
places = sa.Table(
    "places",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("place", sa.String, nullable=False),
)
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("connect_time", sa.BigInteger, nullable=False),  # ns since the epoch
    sa.Column("closed_time", sa.BigInteger),  # ns since the epoch; null while open
    sa.Index("sessions_by_state", "closed_time", "source"),
)
# Assigned stated ids that the counter has not passed yet (`core.ledger.numbering`).
kept_ids = sa.Table(
    "kept_ids",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
)
