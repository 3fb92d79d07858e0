"""The tables of past and open sessions in PostgreSQL, as questions about the past read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import stated_value, storable_value
from sessiongate.core.ledger.postgresql.place import LedgerPlace

_FETCHED = 200  # rows at a time: a page needs few of what a question finds


class PostgresqlTables:
    """Reads the tables over a connection of its own (`core.ledger.history.PastTables`).

    It is one of `core.ledger.reader.Reader`'s connections.
    """

    past = by_end = starts = by_start = "past_sessions AS p"
    entry = "p"
    open = "open_sessions AS p"
    greatest, least = "greatest", "least"
    is_remote: str | None = None

    def __init__(self, place: LedgerPlace, name: str) -> None:
        """Connect; the server shows ``name`` as the application. Raises `LedgerError`."""
        self.connection = LedgerConnection(place, name)

    def rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of the answer, as they are asked for."""
        stored = map(storable_value, values)
        for part in self.connection.stream(question.replace("?", "%s"), *stored, size=_FETCHED):
            for row in part:
                yield tuple(map(stated_value, row))

    def define_remote(self, check: Callable[[str | None], bool]) -> None:
        """Do nothing: the server cannot use a check."""

    @property
    def is_lost(self) -> bool:
        """Whether the connection cannot be used any longer."""
        return self.connection.is_lost

    @contextmanager
    def reading(self) -> Iterator[None]:
        """See one state of the database. Raises `LedgerError` for any error in it."""
        connection = self.connection
        one_state = connection.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with connection.naming_errors(), one_state:
            yield

    def interrupt(self) -> None:
        """Make the question that is being answered fail, if there is one.

        The server notices within a second that nobody waits for it.
        """
        self.connection.cut()

    def close(self) -> None:
        """Close the connection, which nobody uses any longer; never fail."""
        self.connection.close()
