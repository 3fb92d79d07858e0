"""Sends several statements as one, so that the server goes from each to the next by itself.

The rows of a COPY are made while the server does something else: it writes most of them only when
it has all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait

_T = TypeVar("_T")
_Steps: TypeAlias = Generator[Wait, Ready | int, _T]
_SENT = 1 << 20  # bytes at once: libpq keeps what is not sent yet
_FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)
_OUTWARD = (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)  # repeated as long as nothing is read


class Copy(NamedTuple):
    """A COPY and the rows that it reads, in parts, each of which is made when it is asked for."""

    statement: str
    parts: Iterable[bytes]


class Script:
    """Statements that are run once, one after the other."""

    def __init__(self, statements: Sequence[str | Copy], answered: Callable[[], object]) -> None:
        """Prepare to run statements, which have no parameters.

        ``answered`` is called each time when the server has answered one.
        """
        self._answered = answered
        texts = (each if isinstance(each, str) else each.statement for each in statements)
        self._text = ";".join(texts).encode()
        copies = [each.parts for each in statements if isinstance(each, Copy)]
        self._parts = ((number, part) for number, parts in enumerate(copies) for part in parts)
        self._made: deque[tuple[int, bytes]] = deque()  # with the number of their COPY
        self._failure: BaseException | None = None  # of what makes rows: none are made after it

    def run(self, connection: psycopg.Connection) -> list[pq.abc.PGresult]:
        """Return the result of each statement.

        Raises the error of the first that fails, or of what makes rows; then those before it are
        undone unless a transaction has begun.
        """
        return connection.wait(self._run(connection.pgconn))

    def _run(self, connection: pq.abc.PGconn) -> _Steps[list[pq.abc.PGresult]]:
        connection.send_query(self._text)
        yield from _flush(connection)
        results, copies = list[pq.abc.PGresult](), 0
        while True:
            while connection.is_busy():
                if not self._make():
                    yield Wait.R
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            self._answered()
            if result.status == pq.ExecStatus.COPY_IN:
                yield from self._send(connection, copies)
                copies += 1
            elif result.status in _OUTWARD:
                connection.finish()
                raise psycopg.OperationalError("the server sends rows of a COPY, not of a query")
            else:
                results.append(result)
        if self._failure is not None:
            raise self._failure
        if results[-1].status in _FAILED:
            if connection.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(results[-1].get_error_message())
            raise error_from_result(results[-1])
        return results

    def _send(self, connection: pq.abc.PGconn, number: int) -> _Steps[None]:
        """Send the rows of a COPY; the server reads each part while the next one is made."""
        while (self._made or self._make()) and self._made[0][0] == number:
            _, part = self._made.popleft()
            for start in range(0, len(part), _SENT):
                while connection.put_copy_data(part[start : start + _SENT]) == 0:
                    yield Wait.W
                yield from _flush(connection)
        failed = None if self._failure is None else b"the rows could not be made"
        while connection.put_copy_end(failed) == 0:
            yield Wait.W
        yield from _flush(connection)

    def _make(self) -> bool:
        """Make the next part, if there is one; return whether there was."""
        if self._failure is not None:
            return False
        try:
            made = next(self._parts, None)
        except BaseException as error:
            self._failure = error
            return False
        if made is None:
            return False
        self._made.append(made)
        return True


def texts_of(result: pq.abc.PGresult) -> list[list[str]]:
    """Return the rows of a result; a null is an empty text."""
    columns = range(result.nfields)
    return [
        [(result.get_value(row, column) or b"").decode() for column in columns]
        for row in range(result.ntuples)
    ]


def _flush(connection: pq.abc.PGconn) -> _Steps[None]:
    """Send what is to be sent; receive meanwhile, so that neither side waits for the other."""
    while connection.flush():
        if (yield Wait.RW) & Ready.R:
            connection.consume_input()
