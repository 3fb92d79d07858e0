"""The tables of a ledger in PostgreSQL, and how a database gets them.

All are in a schema of their own, in a database that nothing else should use. A later version adds
to them, so that cores of the release before go on beside it.
"""

from __future__ import annotations

import logging
import secrets

import psycopg

from sessiongate.core.ledger.postgresql.connection import SCHEMA, LedgerConnection

log = logging.getLogger(__name__)

COPYING = "copying"  # a counter: the ledger is a copy that is not complete
TABLES_FILE = "pg_relation_filenode('counters')"  # a restored dump has others
SHARD = "default"  # the name of the set of sources that a core has
TABLES_VERSION = 1
_LOCK_TIMEOUT = "'2s'"  # a change of the tables waits for others no longer, nor they for it
_MAKING = (0x53474C, 1)  # an advisory lock: only one core at a time makes the tables

_COUNTERS = (
    "id",  # the last id that was reserved
    "instance",  # the last start of a core
    "past_dropped",  # past sessions of any shard that are no longer kept
)

_DESCRIBED = (
    'state smallint, service text, "user" text, remote text, port bigint, database text,'
    " application text, native_id text, tls_cipher text, truncated text"
)
# Times are ns since the epoch.
_TABLES = (
    # The version of these tables, and the oldest that a program must know to use them.
    "version (number integer NOT NULL, oldest integer NOT NULL)",
    # The server that the ids were last given by (`core.ledger.postgresql.pen`).
    "engine (system_identifier bigint NOT NULL, timeline integer NOT NULL,"
    " started timestamptz NOT NULL, tables bigint NOT NULL, generation bigint NOT NULL,"
    " lock_class integer NOT NULL)",
    "counters (name text NOT NULL PRIMARY KEY, value bigint NOT NULL)",
    # A row changes with every observation: it stays in its place.
    "shards (number smallint NOT NULL PRIMARY KEY, name text NOT NULL UNIQUE,"
    " claim bigint NOT NULL, pid integer, backend_start timestamptz,"
    " writes bigint NOT NULL, past_rows bigint NOT NULL, noted bigint) WITH (fillfactor = 10)",
    # The start of each source's server, in seconds since the epoch.
    "sources (name text NOT NULL PRIMARY KEY, incarnation double precision NOT NULL)",
    # The place that each source is read from (`SourceConfig.place`).
    "places (name text NOT NULL PRIMARY KEY, place text NOT NULL)",
    # Sessions come and go: what they leave is cleared away soon.
    f"open_sessions (id bigint NOT NULL PRIMARY KEY, source text NOT NULL,"
    f" key text NOT NULL, connect_time bigint NOT NULL, {_DESCRIBED},"
    " CONSTRAINT open_by_key UNIQUE (source, key) DEFERRABLE INITIALLY IMMEDIATE)"
    " WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0)",
    # A null end_reason is "closed", the usual one.
    "past_sessions (end_time bigint NOT NULL, id bigint NOT NULL, source text NOT NULL,"
    " connect_time bigint NOT NULL, duration_class smallint NOT NULL, end_reason smallint,"
    " last_seen_time bigint, ended_by text, longest_transaction bigint, upstream_ids bytea,"
    f" downstream_ids bytea, {_DESCRIBED}) PARTITION BY RANGE (end_time)",
    "coverage (source text NOT NULL, start_time bigint NOT NULL, is_partial boolean NOT NULL,"
    " end_time bigint NOT NULL, PRIMARY KEY (source, start_time, is_partial))",
    # When each source was first and last observed, also when its coverage is no longer kept.
    "observed_sources (name text NOT NULL PRIMARY KEY, first_time bigint NOT NULL,"
    " last_time bigint NOT NULL)",
    # When cores ran; sessions that lasted less than a run's least_duration are not kept.
    "runs (shard smallint NOT NULL, start_time bigint NOT NULL, end_time bigint NOT NULL,"
    " least_duration bigint NOT NULL, PRIMARY KEY (shard, start_time))",
)
_INDEXES = (
    "open_by_start ON open_sessions (connect_time, id)",
    "past_by_end ON past_sessions (end_time, id)",
    # Of the sessions of a class, those that were connected at a moment are a short range of
    # their starts (`past.first_start`).
    "past_by_start ON past_sessions (duration_class, connect_time, id)",
    "past_by_id ON past_sessions (id)",
    "coverage_by_end ON coverage (end_time)",
    "runs_by_end ON runs (end_time)",
)


def require_tables(connection: LedgerConnection) -> None:
    """Make the tables if there are none. Raises `LedgerError` if they are too new, or cannot be."""
    connection.execute("SELECT pg_advisory_lock(%s, %s)", *_MAKING)
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}")
            _require(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        user = connection.raw.info.user
        raise connection.error(
            f"has no schema {SCHEMA} that the role {user} may use; as a superuser:"
            f' CREATE SCHEMA {SCHEMA} AUTHORIZATION "{user}" in that database'
            f" ({error.diag.message_primary})"
        ) from None
    finally:
        if not connection.is_lost:
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", *_MAKING)


def _require(connection: LedgerConnection) -> None:
    found = connection.execute("SELECT to_regclass(%s)", f"{SCHEMA}.version").fetchone()
    if found == (None,):
        _create(connection)
    ((number, oldest),) = connection.execute("SELECT number, oldest FROM version")
    if oldest > TABLES_VERSION:
        raise connection.error(f"has version {number}; this program supports only {TABLES_VERSION}")


def _create(connection: LedgerConnection) -> None:
    present = connection.execute("SELECT to_regnamespace(%s)", SCHEMA).fetchone()
    if present == (None,):
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in _TABLES:
        connection.execute(f"CREATE TABLE {SCHEMA}.{table}")
    for index in _INDEXES:
        connection.execute(f"CREATE INDEX {index}")
    connection.execute("INSERT INTO version VALUES (%s, %s)", TABLES_VERSION, TABLES_VERSION)
    server = connection.server
    connection.execute(
        f"INSERT INTO engine VALUES (%s, %s, %s, {TABLES_FILE}, 1, %s)",  # noqa: S608 - our own
        *(server.system, server.timeline, server.started, secrets.randbits(31)),
    )
    for name in _COUNTERS:
        connection.execute("INSERT INTO counters VALUES (%s, 0)", name)
    connection.execute(
        "INSERT INTO shards (number, name, claim, writes, past_rows) VALUES (1, %s, 0, 0, 0)", SHARD
    )
    log.info("made the ledger's tables in the schema %s", SCHEMA)
