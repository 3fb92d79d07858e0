"""Copies a ledger's write-ahead log into its file, on a thread of its own, beside the writes.

SQLite would do so within a commit, and all other writes would wait for it. Most of the log can be
copied while the ledger writes. What is written meanwhile is little: that is copied between two
writes, so that the next one starts the log over.
"""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager

from sessiongate.core.ledger.file import LedgerFile
from sessiongate.core.ledger.lock import LedgerError

log = logging.getLogger(__name__)

_ROWS = 4_000  # changed rows after which the log is copied; each takes some pages, or shares them
_PASSES = 3  # beside the writes; what each leaves is what is written while it lasts
_FEW = 100  # pages, which are copied in about a millisecond


class Checkpoints:
    """Copies the log of a ledger's file whenever many rows have changed."""

    def __init__(self, file: LedgerFile, between_writes: AbstractContextManager[object]) -> None:
        """Open the log; while ``between_writes`` is held, nothing is written."""
        self._file = file
        self._between_writes = between_writes
        self._connection = sqlite3.connect(file.path, isolation_level=None, check_same_thread=False)
        self._pass()  # SQLite opens files when they are used; later, too many may be open
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._copying: Future[None] | None = None
        self._copied = 0  # rows that had changed when copying last began

    def wrote(self, changes: int) -> None:
        """Copy the log soon if it is due; ``changes`` are all rows that changed since the start."""
        is_due = changes - self._copied >= _ROWS
        if is_due and (self._copying is None or self._copying.done()):
            self._copied = changes
            self._copying = self._thread.submit(self._copy)

    def close(self) -> None:
        """Wait until nothing is copied any longer."""
        self._thread.shutdown()
        self._connection.close()

    def _copy(self) -> None:
        try:
            with self._file.changing():
                known = 0
                for _ in range(_PASSES):
                    size = self._pass()
                    if size - known < _FEW:
                        break
                    known = size
                with self._between_writes:
                    self._pass()
        except (sqlite3.Error, LedgerError) as error:  # a write that fails, too, reports it
            log.debug("the ledger's log was not copied: %s", error)

    def _pass(self) -> int:
        """Copy what the log holds as this begins; return how many pages that is in all."""
        ((_, size, _),) = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return int(size)
