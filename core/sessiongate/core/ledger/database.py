"""A ledger's SQLite database: its one connection, its tables, its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from sessiongate.core.ledger import past
from sessiongate.core.ledger.coverage_rows import COVERAGE_INDEXES, COVERAGE_TABLES
from sessiongate.core.ledger.file import CorruptError
from sessiongate.core.ledger.lock import LedgerError

_WAL_BYTES = 16 * 1024 * 1024  # of the write-ahead log after a checkpoint
# Pages of it, 64 MiB, from which on a commit copies them itself: if `Checkpoints` do not get on.
_WAL_PAGES = 16_384
_CACHE_KIB = 8 * 1024  # of pages that what comes and goes changes again and again
_LARGE_BYTES = 64 << 20  # which take about 0.2 seconds to check
# What a start reads; also read while it is not there yet.
_NEEDED = ("counters", "sources", "places", "kept_ids", "open_sessions", "sqlite_schema")
_TABLES = (
    "counters (name VARCHAR NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
    # The start of each source's server, in seconds since the epoch.
    "sources (name VARCHAR NOT NULL PRIMARY KEY, incarnation DOUBLE NOT NULL)",
    # The place that each source is read from (`SourceConfig.place`).
    "places (name VARCHAR NOT NULL PRIMARY KEY, place VARCHAR NOT NULL)",
    # Assigned stated ids that the counter has not passed yet (`core.ledger.numbering`).
    "kept_ids (id BIGINT NOT NULL PRIMARY KEY)",
    *past.SESSION_TABLES,
    *COVERAGE_TABLES,
)


class Database:
    """The database in a file, or in memory; its connection is opened at first use."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Beside it, a file that says that it was found to be corrupt.
        self._suspect = path and path.with_name(f"{path.name}.suspect")
        self._connection: sqlite3.Connection | None = None
        self.between_transactions = Lock()  # held during each

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection: outside of `transaction`, each statement is a transaction."""
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction, which is committed at the end."""
        connection = self.connection
        with self.between_transactions:
            connection.execute("BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()  # unless SQLite has done so itself
                raise

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Convert SQLite's errors to `LedgerError`, with the ledger's name."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.named(error) from error

    def named(self, error: sqlite3.Error) -> LedgerError:
        """Convert an error; if the file is corrupt, have the next start check all of it."""
        text = f"the ledger ({self._path or 'in memory'}) failed: {error}"
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return LedgerError(text)
        if self._suspect is not None:
            with suppress(OSError):
                self._suspect.touch(mode=0o600)
        return CorruptError(text)

    def check(self) -> None:
        """Raise `CorruptError` if the file is corrupt.

        Of a large file, past sessions are checked only if they were found to be corrupt: it
        would delay the start by seconds.
        """
        if self._path is None or self._suspect is None:
            return
        is_quick = self._path.stat().st_size > _LARGE_BYTES and not self._suspect.exists()
        for table in _NEEDED if is_quick else ("1",):
            ((found,), *_) = self.connection.execute(f"PRAGMA quick_check({table})").fetchall()
            if found != "ok":
                self._suspect.unlink(missing_ok=True)
                raise CorruptError(f"the ledger ({self._path}) is corrupt: {found}")
        self._suspect.unlink(missing_ok=True)

    def create(self) -> None:
        """Create what is missing."""
        with self.transaction() as connection:
            for table in _TABLES:
                connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
            for index in (*past.SESSION_INDEXES, *COVERAGE_INDEXES):
                connection.execute(f"CREATE INDEX IF NOT EXISTS {index}")


def counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the counters by name."""
    return dict(connection.execute("SELECT name, value FROM counters"))


def set_counter(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Set a counter that exists."""
    connection.execute("UPDATE counters SET value = ? WHERE name = ?", (value, name))


def moved_to(connection: sqlite3.Connection) -> str | None:
    """Return the place of the ledger that has replaced this one, if there is one."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'moved'").fetchall():
        return None
    return next((str(place) for (place,) in connection.execute("SELECT place FROM moved")), None)


def take_over(connection: sqlite3.Connection) -> None:
    """Take over the open sessions of a ledger without history; those that ended are dropped."""
    connection.execute(
        "INSERT INTO open_sessions (id, source, key, connect_time)"
        " SELECT id, source, key, connect_time FROM sessions WHERE closed_time IS NULL"
    )
    connection.execute("DROP TABLE sessions")


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
    if path is not None:
        try:
            # WAL with a sync per commit: an assigned id survives a power cut.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
    return connection
