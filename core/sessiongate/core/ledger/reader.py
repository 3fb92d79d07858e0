"""Answers questions about the past on threads of their own, beside the ledger's writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from sessiongate.core.ledger.lock import LedgerError

_READERS = 2
_T = TypeVar("_T")


class ReadConnection(Protocol):
    """A connection by which one thread reads; `interrupt` is called on others."""

    @property
    def is_lost(self) -> bool:
        """Whether the connection cannot be used any longer."""

    def reading(self) -> AbstractContextManager[None]:
        """See one state of the database. Raises `LedgerError` for any error in it."""

    def interrupt(self) -> None:
        """Make the question that is being answered fail, if there is one."""

    def close(self) -> None:
        """Close the connection, which nobody uses any longer; never fail."""


_C = TypeVar("_C", bound=ReadConnection)


class Reader(Generic[_C]):
    """Reads a ledger on connections of its own, each of which sees one state.

    A question whose caller is gone is interrupted.
    """

    def __init__(self, connect: Callable[[], _C]) -> None:
        """Use connections that ``connect`` opens, on the thread that will use them."""
        self._connect = connect
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="history")
        self._local = threading.local()
        self._connections: list[_C] = []
        self._is_closed = False

    async def read(self, question: Callable[[_C], _T]) -> _T:
        """Return the answer to a question. Raises `LedgerError`."""
        asked: list[_C] = []
        lock = threading.Lock()  # so that no later question is interrupted instead

        def answer() -> _T:
            connection = self._connection()
            with lock:
                asked.append(connection)
            try:
                with connection.reading():
                    return question(connection)
            finally:
                with lock:
                    asked.clear()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answer)
        except asyncio.CancelledError:
            with lock:
                for connection in asked:
                    connection.interrupt()
            raise

    def close(self) -> None:
        """Interrupt what is being read, and close all connections."""
        self._is_closed = True
        for connection in self._connections:
            connection.interrupt()
        self._threads.shutdown(cancel_futures=True)
        for connection in self._connections:
            connection.close()

    def _connection(self) -> _C:
        found: _C | None = getattr(self._local, "connection", None)
        if found is not None and found.is_lost:
            self._connections.remove(found)
            found.close()
            found = self._local.connection = None
        if found is None:
            found = self._connect()
            self._local.connection = found
            self._connections.append(found)
        if self._is_closed:  # also one that was being opened, and was not interrupted
            raise LedgerError("the ledger is closed")
        return found
