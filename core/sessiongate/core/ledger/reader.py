"""Answers questions about the past on threads of their own, beside the ledger's writes."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sessiongate.core.ledger.lock import LedgerError

_READERS = 2
_T = TypeVar("_T")


class Reader:
    """Reads a ledger's file on connections of its own, each of which sees one state.

    A question whose caller is gone is interrupted.
    """

    def __init__(self, path: Path, named: Callable[[sqlite3.Error], LedgerError]) -> None:
        """Read the file at a path; ``named`` converts SQLite's errors."""
        self._path = path
        self._named = named
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="history")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def read(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return the answer to a question. Raises `LedgerError`."""
        asked: list[sqlite3.Connection] = []
        lock = threading.Lock()  # so that no later question is interrupted instead

        def answer() -> _T:
            connection = self._connection()
            with lock:
                asked.append(connection)
            try:
                connection.execute("BEGIN")
                try:
                    return question(connection)
                finally:
                    connection.rollback()
            except sqlite3.Error as error:
                raise self._named(error) from error
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
        for connection in self._connections:
            connection.interrupt()
        self._threads.shutdown(cancel_futures=True)
        for connection in self._connections:
            with suppress(sqlite3.Error):
                connection.close()

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            found.execute("PRAGMA query_only=1")
            self._local.connection = found
            self._connections.append(found)
        return found
