"""One libpq connection, which works in a thread.

A step of libpq reads everything that has arrived, and everything that arrives meanwhile, so the
server decides how long it takes. Abandoning it closes the connection, which ends the thread's work.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from psycopg import OperationalError, generators, waiting
from psycopg.abc import PQGen, PQGenConn
from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.received import MAX_RECEIVED_BYTES, limit_received
from sessiongate.runtime.daemon_thread import HangsError, in_daemon_thread

_MAX_LOGIN_BYTES = 1024 * 1024  # received until the server has accepted the login
_MAX_RESULTS = 16  # of one query: libpq keeps all of them
_WAKE = 0.1  # seconds between checks whether to continue waiting
_SHOWN = 1000  # bytes of an error text
_T = TypeVar("_T")


class RefusedError(Exception):
    """The server returned an error, whose text is in the server's encoding."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class PqConnection:
    """Runs one query at a time, from `open` to `close`."""

    def __init__(self, where: str) -> None:
        """Prefix errors with ``where``."""
        self._where = where
        self._lock = threading.Lock()
        self._is_busy = False
        self._is_closed = False
        self._pgconn: PGconn | None = None
        # A duplicate of libpq's own socket, which libpq may close at any time.
        self._socket: socket.socket | None = None

    async def open(self, parameters: str) -> None:
        """Connect and log in. Raises psycopg's `OperationalError`, and `SourceError`."""

        def work() -> None:
            self._pgconn = waiting.wait_conn(self._connecting(parameters), _WAKE)

        await self._in_thread(work, _MAX_LOGIN_BYTES)

    async def query(self, query: str) -> PGresult | None:
        """Return the last result of a query of one or a few statements.

        Raises `RefusedError`, psycopg's errors and `SourceError`.
        """
        pgconn = self._pgconn
        assert pgconn is not None  # noqa: S101 - it is open

        def work() -> PGresult | None:
            steps = self._querying(pgconn, query.encode())
            return waiting.wait(steps, pgconn.socket, _WAKE)

        return await self._in_thread(work, MAX_RECEIVED_BYTES)

    @property
    def is_lost(self) -> bool:
        """Whether the other end has closed the connection."""
        return self._pgconn is None or self._pgconn.status == ConnStatus.BAD

    def local_end(self) -> tuple[str, int] | None:
        """Return this end's address and port; None if it is closed."""
        if self._socket is None:
            return None
        address, port = self._socket.getsockname()[:2]
        return address, port

    def close(self) -> None:
        """Close the connection at once; a caller that waits for a result fails."""
        with self._lock:
            self._is_closed = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            if not self._is_busy:
                self._finish()

    async def _in_thread(self, work: Callable[[], _T], most: int) -> _T:
        def whole() -> _T:
            try:
                return work()
            finally:
                with self._lock:
                    self._is_busy = False
                    if self._is_closed:
                        self._finish()

        async with limit_received(self._descriptor, self._where, most):
            self._is_busy = True
            try:
                return await in_daemon_thread(self, whole)
            except HangsError:
                self._is_busy = False
                raise SourceError(f"{self._where}no thread can be started") from None

    def _descriptor(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def _connecting(self, parameters: str) -> PQGenConn[PGconn]:
        """Run the steps of connecting, noting the socket at each."""
        steps = generators.connect(parameters)
        try:
            descriptor, wanted = next(steps)
            while True:
                self._note(descriptor)
                descriptor, wanted = steps.send((yield descriptor, wanted))
        except StopIteration as done:
            pgconn: PGconn = done.value
            self._note(pgconn.socket)
            return pgconn

    def _note(self, descriptor: int) -> None:
        """Keep the connection's socket, which another attempt may replace."""
        with self._lock:
            if self._is_closed:
                raise OperationalError("the attempt was abandoned")
            if self._socket is not None:
                self._socket.close()
            self._socket = socket.socket(fileno=os.dup(descriptor))

    def _querying(self, pgconn: PGconn, query: bytes) -> PQGen[PGresult | None]:
        """Run the steps of a query."""
        pgconn.send_query(query)
        yield from generators.send(pgconn)
        last: PGresult | None = None
        refusal: bytes | None = None
        for _ in range(_MAX_RESULTS):
            result = yield from generators.fetch(pgconn)
            if result is None:
                if refusal is not None:
                    raise RefusedError(refusal)
                return last
            if result.status == ExecStatus.FATAL_ERROR and refusal is None:
                primary = result.error_field(DiagnosticField.MESSAGE_PRIMARY)
                refusal = (primary or result.error_message)[:_SHOWN]
            last = result
        raise SourceError(f"{self._where}the response has more than {_MAX_RESULTS} results")

    def _finish(self) -> None:
        """Close everything; the caller holds the lock, and no query is running."""
        if self._pgconn is not None:
            self._pgconn.finish()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
