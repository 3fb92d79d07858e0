"""The tables of past and open sessions in PostgreSQL, as questions about the past read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.types.numeric import Int8

from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import stated_value, storable_value
from sessiongate.core.ledger.postgresql.place import LedgerPlace

_FETCHED = 200  # rows at first: a page needs few of what a question finds
_MORE = 8  # times as many rows each time: those before them are passed over again
_MOST = 20_000  # rows by one statement: the others are read by a cursor, which passes over none
_READ_AT_ONCE = 2000  # rows of that cursor


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
        with self.connection.naming_errors():
            # One plan for all times: which partitions a question needs is found as it begins.
            self.connection.execute("SET plan_cache_mode = force_generic_plan")

    def rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an answer of any length, as they are asked for."""
        for part in self.connection.stream(_asked(question), *_stored(values), size=_FETCHED):
            yield from map(_stated, part)

    def first_rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of an answer in a strict order, of which few may be asked for.

        Each part is asked for by a statement that the server has prepared: to plan a question
        over hundreds of partitions takes longer than to answer it.
        """
        asked, done, size = f"{_asked(question)} OFFSET %s LIMIT %s", 0, _FETCHED
        while size <= _MOST:
            part = self.connection.prepared(asked, *_stored((*values, done, size)))
            yield from map(_stated, part)
            if len(part) < size:
                return
            done, size = done + size, size * _MORE
        rest = f"{_asked(question)} OFFSET %s"
        for part in self.connection.stream(rest, *_stored((*values, done)), size=_READ_AT_ONCE):
            yield from map(_stated, part)

    def few_rows(self, question: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a short answer."""
        yield from map(_stated, self.connection.prepared(_asked(question), *_stored(values)))

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


def _asked(question: str) -> str:
    return question.replace("?", "%s")


def _stored(values: Sequence[Any]) -> list[Any]:
    """Return values as the server compares them; numbers have one type, for one plan."""
    return [Int8(value) if type(value) is int else storable_value(value) for value in values]


def _stated(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(stated_value, row))
