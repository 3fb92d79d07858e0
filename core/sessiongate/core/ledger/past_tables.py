"""The tables of past and open sessions in SQLite, as questions about the past read them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sessiongate.core.ledger.database import Database


class SqliteTables:
    """Reads the tables over one connection (`core.ledger.history.PastTables`)."""

    past = "past_sessions AS p"
    by_end = f"{past} NOT INDEXED"
    # SQLite would look up each entry of the index in the table, which has no row numbers, before
    # it looks at its end; so only those that remain are joined with it.
    starts = "past_sessions AS i INDEXED BY past_by_start"
    by_start = f"{starts} CROSS JOIN past_sessions AS p ON p.end_time = i.end_time AND p.id = i.id"
    entry = "i"
    open = "open_sessions AS p"
    greatest, least = "max", "min"
    is_remote: str | None = "is_remote(p.remote)"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the answer, as they are asked for."""
        return self.connection.execute(question, values)

    first_rows = few_rows = rows

    def define_remote(self, check: Callable[[str | None], bool]) -> None:
        """Let `is_remote` use a check; SQLite cannot do so while it answers a question."""
        self.connection.create_function("is_remote", 1, check, deterministic=True)


class ReadingTables(SqliteTables):
    """A connection of its own to a ledger's file, by which one thread reads."""

    def __init__(self, path: Path, database: Database) -> None:
        """Connect; errors are as those of ``database``."""
        self._database = database
        with database.naming_errors():
            super().__init__(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
            self.connection.execute("PRAGMA query_only=1")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the database. Raises `LedgerError` for any error in it."""
        with self._database.naming_errors():
            self.connection.execute("BEGIN")
            try:
                yield
            finally:
                self.connection.rollback()

    @property
    def is_lost(self) -> bool:
        """Whether the connection cannot be used any longer; one to a file can."""
        return False

    def interrupt(self) -> None:
        """Make the question that is being answered fail, if there is one."""
        self.connection.interrupt()

    def close(self) -> None:
        """Close the connection, which nobody uses any longer; never fail."""
        with suppress(sqlite3.Error):
            self.connection.close()
