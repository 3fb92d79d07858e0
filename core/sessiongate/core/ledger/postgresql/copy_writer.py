"""Ends a COPY without waiting idly: the server writes most rows only when it has all of them."""

from __future__ import annotations

from collections.abc import Callable, Generator

import psycopg
from psycopg import pq
from psycopg.copy import LibpqWriter
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait


class CopyWriter(LibpqWriter):
    """Writes the data of a COPY, and does something while the server writes the last rows."""

    def __init__(self, cursor: psycopg.Cursor, meanwhile: Callable[[], object]) -> None:
        super().__init__(cursor)
        self._meanwhile = meanwhile

    def finish(self, exc: BaseException | None = None) -> None:
        """End the COPY; raise psycopg's error if it has failed."""
        if exc is not None:
            super().finish(exc)
            return
        connection = self.connection
        connection.wait(_end(connection.pgconn))
        try:
            self._meanwhile()
        finally:  # whatever happens, the connection is of use only when this has been received
            result = connection.wait(_result(connection.pgconn))
        if result is None or result.status != pq.ExecStatus.COMMAND_OK:
            raise error_from_result(result) if result else psycopg.OperationalError("no result")


def _end(connection: pq.abc.PGconn) -> Generator[Wait, Ready | int, None]:
    """Tell the server that it has all rows."""
    while connection.put_copy_end() == 0:
        yield Wait.W
    while connection.flush():
        yield Wait.W


def _result(connection: pq.abc.PGconn) -> Generator[Wait, Ready | int, pq.abc.PGresult | None]:
    """Return the result of the statement, the last one that is received."""
    last: pq.abc.PGresult | None = None
    while True:
        while connection.is_busy():
            while not (yield Wait.R):
                pass
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return last
        last = result
