"""The tables of a ledger in PostgreSQL, and how a database gets them.

All are in a schema of their own, in a database that nothing else should use. A later version adds
to them, so that cores of the release before go on beside it.
"""

from __future__ import annotations

import logging
import secrets

import psycopg

from sessiongate.core.ledger.postgresql.connection import (
    SCHEMA,
    LedgerAwayError,
    LedgerConnection,
)
from sessiongate.runtime.core_settings import DEFAULT_SHARD

log = logging.getLogger(__name__)

COPYING = "copying"  # a counter: the ledger is a copy that is not complete
TABLES_FILE = "pg_relation_filenode('counters')"  # a restored dump has others
DEFAULT_NUMBER = 1  # of the default shard, which has what no other is known to have
TABLES_VERSION = 4
_LOCK_TIMEOUT = "'2s'"  # a change of the tables waits for others no longer, nor they for it
MAKING = (0x53474C, 1)  # an advisory lock: only one core at a time makes tables, and numbers

# Where numbers of starts begin, at random: not where those of tables began that were dropped.
_FIRST_INSTANCES = 1 << 20
_COUNTERS = (
    "id",  # the last id that was reserved
    "instance",  # the last start of a core or a front
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
# What later versions have added; a core of an earlier one does without.
_ADDED = {
    2: (
        # The shard of each source; `default` has those that are not in here.
        "shard_sources (name text NOT NULL PRIMARY KEY, shard smallint NOT NULL)",
        # Under which claim of a shard which core has become active, if it states its name.
        "actives (shard smallint NOT NULL PRIMARY KEY, claim bigint NOT NULL, core text NOT NULL,"
        " instance bigint NOT NULL, since timestamptz NOT NULL)",
        # The programs of the fleet (`core.fleet.member`): ``pid`` and ``backend_start`` are of the
        # connection that has the lock on the name, those of the pen are what the core last had.
        "cores (name text NOT NULL PRIMARY KEY, number integer NOT NULL UNIQUE,"
        " kind text NOT NULL, shard smallint, address text, host text NOT NULL,"
        " version text NOT NULL, started timestamptz NOT NULL, pid integer,"
        " backend_start timestamptz, beat bigint NOT NULL DEFAULT 0, pen_pid integer,"
        " pen_start timestamptz, observed timestamptz, unreadable text[], sources jsonb)"
        " WITH (fillfactor = 10)",
    ),
    3: (
        # Which program is reading which source for the first time, since before it began.
        "first_reads (source text NOT NULL, core text NOT NULL, started timestamptz NOT NULL,"
        " PRIMARY KEY (source, core))",
        # How many in a row ended while they did, and when that was last found.
        "suspects (source text NOT NULL PRIMARY KEY, ends integer NOT NULL,"
        " last_end timestamptz NOT NULL)",
    ),
}
_ADDED_COLUMNS = {
    # How far the clock of a core is ahead, in seconds, as it last stated.
    4: ("cores ADD COLUMN clock_off double precision",),
}
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

# Within a transaction, the server learns of tables that others have made meanwhile only as it opens
# one of its own; the name alone it would look up in what it remembers.
_FIND = "SELECT to_regclass(%s) FROM pg_namespace LIMIT 1"


def require_tables(connection: LedgerConnection) -> None:
    """Make the tables if there are none. Raises `LedgerError` if they are too new, or cannot be.

    Raises `LedgerAwayError` if others use tables that are to be changed: a backup passes.
    """
    if _are_there(connection):
        return  # no core waits for another one that makes nothing
    try:
        with connection.transaction():
            # Until the transaction ends, which PostgreSQL ends if this core is stopped meanwhile.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", *MAKING)
            connection.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}")
            _require(connection)
    except psycopg.errors.LockNotAvailable:
        raise LedgerAwayError(
            str(
                connection.error(
                    "must be changed for this release, but its tables are in use: wait for what"
                    " uses them, such as pg_dump, or end it"
                )
            )
        ) from None
    except psycopg.errors.InsufficientPrivilege as error:
        user = connection.raw.info.user
        raise connection.error(
            f"has no schema {SCHEMA} that the role {user} may use; as a superuser:"
            f' CREATE SCHEMA {SCHEMA} AUTHORIZATION "{user}" in that database'
            f" ({error.diag.message_primary})"
        ) from None


def _are_there(connection: LedgerConnection) -> bool:
    """Return whether nothing is to be made. Raises `LedgerError` if the tables are too new."""
    found = connection.execute(_FIND, f"{SCHEMA}.version").fetchone()
    return found != (None,) and _version(connection) >= TABLES_VERSION


def _version(connection: LedgerConnection) -> int:
    ((number, oldest),) = connection.execute("SELECT number, oldest FROM version")
    if oldest > TABLES_VERSION:
        raise connection.error(f"has version {number}; this program supports only {TABLES_VERSION}")
    return int(number)


def _require(connection: LedgerConnection) -> None:
    found = connection.execute(_FIND, f"{SCHEMA}.version").fetchone()
    if found == (None,):
        _create(connection)
    number = _version(connection)
    for version in range(number + 1, TABLES_VERSION + 1):
        for table in _ADDED.get(version, ()):
            connection.execute(f"CREATE TABLE {SCHEMA}.{table}")
        for column in _ADDED_COLUMNS.get(version, ()):
            connection.execute(f"ALTER TABLE {SCHEMA}.{column}")
        connection.execute("UPDATE version SET number = %s", version)


def _create(connection: LedgerConnection) -> None:
    present = connection.execute("SELECT to_regnamespace(%s)", SCHEMA).fetchone()
    if present == (None,):
        connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in _TABLES:
        connection.execute(f"CREATE TABLE {SCHEMA}.{table}")
    for index in _INDEXES:
        connection.execute(f"CREATE INDEX {index}")
    connection.execute("INSERT INTO version VALUES (1, 1)")
    server = connection.server
    connection.execute(
        f"INSERT INTO engine VALUES (%s, %s, %s, {TABLES_FILE}, 1, %s)",  # noqa: S608 - our own
        *(server.system, server.timeline, server.started, secrets.randbits(31)),
    )
    for name in _COUNTERS:
        first = secrets.randbelow(_FIRST_INSTANCES) if name == "instance" else 0
        connection.execute("INSERT INTO counters VALUES (%s, %s)", name, first)
    connection.execute(
        "INSERT INTO shards (number, name, claim, writes, past_rows) VALUES (%s, %s, 0, 0, 0)",
        *(DEFAULT_NUMBER, DEFAULT_SHARD),
    )
    log.info("made the ledger's tables in the schema %s", SCHEMA)


def shard_number(connection: LedgerConnection, name: str) -> int:
    """Return the number of a shard, which is made if there is none of that name.

    Raises `LedgerAwayError` if the tables are dropped meanwhile.
    """
    question = "SELECT number FROM shards WHERE name = %s"
    found = connection.execute(question, name).fetchone()
    if found is None:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", *MAKING)
            connection.execute(
                "INSERT INTO shards (number, name, claim, writes, past_rows)"
                " SELECT max(number) + 1, %s, 0, 0, 0 FROM shards ON CONFLICT (name) DO NOTHING",
                name,
            )
        found = connection.row(question, name)
    return int(found[0])
