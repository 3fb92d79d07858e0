"""Session ids that survive a restart (SQLite).

The ledger maps the identity of an open session (source, key) to its id and its
start. It also stores the id counter, so that no id is assigned twice, and a ceiling
above every revision ever used. Each call that writes is one transaction, committed
before it returns.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sessiongate.core.ledger import coverage
from sessiongate.core.ledger.coverage import CoreRun, Interval
from sessiongate.core.ledger.database import Database, take_over
from sessiongate.core.ledger.file import CorruptError, LedgerFile, ledger_path
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.numbering import Numbering, Numbers, from_clock
from sessiongate.core.ledger.past import Closing, Opening
from sessiongate.core.ledger.reader import Reader
from sessiongate.core.ledger.retention import HistoryPolicy
from sessiongate.core.ledger.rows import Changes, open_sessions, shorten_keys
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

# Revisions reserved by one write, which then suffices for as many changes.
_REVISIONS_AHEAD = 1_000_000
LEDGER_CLOSE_TIMEOUT = 5.0  # seconds that the last writes may take
SLOW = 3.0  # seconds after which slow opening is logged
_SLOW = "still waiting for the ledger (%s): its disk hangs or is slow"
_SCHEMA = 3  # 1: without kept ids; 2: without history
_GENERATION_BITS = 62  # SQLite's integers have 63 and a sign
_APART = 1 << 32  # ids, or 71 minutes of the clock, from one core in memory to the next

_T = TypeVar("_T")


class Ledger:
    """An open, locked ledger, made by `Ledger.open`; its calls are queued on one thread."""

    def __init__(
        self,
        database: Database,
        thread: ThreadPoolExecutor,
        file: LedgerFile | None,
        policy: HistoryPolicy,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._thread = thread
        # Calls, and when one last ended, or the first of them began.
        self._waiting, self._moved = 0, 0.0
        self._file = file  # None: in memory
        self._reader = Reader(file.path) if file is not None else None
        self.policy = policy
        self._now = now
        self.began = now()
        self._ceiling = 0
        self._numbering = Numbering(1)  # replaced once the file is read

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        policy: HistoryPolicy = HistoryPolicy(),  # noqa: B008 - frozen
        now: Callable[[], int],
        again: int = 0,
    ) -> Ledger:
        """Open and lock the ledger at a URL; create it if it does not exist.

        ``policy`` says which past sessions are kept; ``now`` returns ns since the epoch. A
        corrupt file is set aside, never deleted.
        If a file may lack some of the assigned ids (`core.ledger.file`), or one in memory was
        opened ``again`` that many times, ids continue from the clock in microseconds.
        Raises `LedgerError`.
        """
        path = ledger_path(url)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        loop = asyncio.get_running_loop()
        slow = loop.call_later(SLOW, log.warning, _SLOW, path)
        ledger = None
        try:
            file = await loop.run_in_executor(thread, LedgerFile, path, now) if path else None
            ledger = cls(Database(path), thread, file, policy, now)
            await ledger._run(partial(ledger._prepare_or_start_over, again=again))
        except BaseException:
            if ledger is not None:
                await ledger.close()
            thread.shutdown(wait=False)
            raise
        finally:
            slow.cancel()
        return ledger

    async def close(self) -> None:
        """Finish queued calls and release the ledger; do not wait for a disk that hangs."""
        if self._reader is not None:
            self._reader.close()
        try:
            async with asyncio.timeout(LEDGER_CLOSE_TIMEOUT):
                await self._run(self._finish)
        except TimeoutError:
            log.error("the ledger's disk hangs; exiting without the last writes")
            self._thread.shutdown(wait=False, cancel_futures=True)
            return  # a write may still complete: only the end of the process releases the lock
        self._thread.shutdown()

    @property
    def busy_for(self) -> float:
        """Seconds since a call ended, or the first began, while others wait for it."""
        return elapsed() - self._moved if self._waiting else 0.0

    async def is_in_place(self) -> bool:
        """Return whether the ledger's file is still the one that was opened."""
        file = self._file
        return file is None or await self._run(lambda: file.is_in_place)

    async def ceiling(self) -> int:
        """Return a number above every revision ever used."""
        wanted = "SELECT value FROM counters WHERE name = 'revision'"
        ((value,),) = await self._read(wanted)
        return int(value)

    def is_reserved(self, revision: int) -> bool:
        """Return whether no later start uses this revision or a lower one."""
        return revision <= self._ceiling

    async def reserve(self, revision: int) -> None:
        """Make sure that no later start uses this revision or a lower one."""
        if not self.is_reserved(revision):
            await self._run(lambda: self._reserve(revision))

    async def held(self) -> defaultdict[str, dict[str, int]]:
        """Return the places (`core.place`) of the open sessions, by source and key.

        A source without any has an empty dict. Many are read in short steps, between which
        other threads run.
        """
        return await self._run(lambda: open_sessions(self._database.connection))

    async def incarnation(self, source: str) -> float | None:
        """Return the start of the source's server, as last recorded."""
        wanted = "SELECT incarnation FROM sources WHERE name = ?"
        return next((start for (start,) in await self._read(wanted, source)), None)

    async def places(self) -> dict[str, str]:
        """Return the place that each source was last read from, by name."""
        return dict(await self._read("SELECT name, place FROM places"))

    async def record(
        self,
        source: str,
        *,
        opened: Sequence[Opening],
        closed: Sequence[Closing],
        incarnation: float | None,
        rekeyed: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,
        observed: int | None = None,
    ) -> list[int]:
        """Record one observation; return the ids of ``opened``, in order.

        `Numbering` assigns them. For the arguments see `core.ledger.rows.Changes`.
        Raises `LedgerError`; then nothing is written.
        """
        changes = Changes(source, opened, closed, incarnation, rekeyed, place, observed)
        return await self._run(lambda: self._record(changes))

    async def covered_until(self, source: str) -> int | None:
        """Return when a source was last observed, in ns since the epoch, as far as is written."""
        return await self._run(lambda: coverage.covered_until(self._database.connection, source))

    async def read(self, question: Callable[[sqlite3.Connection], _T]) -> _T:
        """Return the answer to a question about the past, read from one state of the database.

        Raises `LedgerError`.
        """
        if self._reader is not None:
            return await self._reader.read(question)
        return await self._run(lambda: question(self._database.connection))

    async def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs. Raises `LedgerError`."""
        await self._run(lambda: self._note(intervals))

    async def trim(self) -> bool:
        """Delete some past sessions that are no longer kept; return whether there may be more.

        Raises `LedgerError`.
        """
        return await self._run(self._trim)

    async def _run(self, work: Callable[[], _T]) -> _T:
        def named() -> _T:
            with self._database.naming_errors():
                return work()

        self._moved = self._moved if self._waiting else elapsed()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, named)
        finally:
            self._waiting -= 1
            self._moved = elapsed()

    async def _read(self, wanted: str, *values: str) -> list[tuple[Any, ...]]:
        return await self._run(lambda: self._database.connection.execute(wanted, values).fetchall())

    def _finish(self) -> None:
        """Release the file, with nothing left in its write-ahead log."""
        is_ours = self._file is not None and self._file.is_in_place
        self._database.close()
        if self._file is not None:
            self._file.close(self._numbering.following if is_ours else None)

    def _prepare_or_start_over(self, *, again: int) -> None:
        if self._file is None:
            # Higher each time: the clock may show the same time again.
            following = from_clock(self._now() // 1000) + again * _APART
            self._prepare(first_id=following if again else 1)
            return
        try:
            with self._database.naming_errors():
                self._file.require()
                self._database.check()
                self._prepare(first_id=1)
        except CorruptError as error:
            self._database.close()
            self._file.set_aside(error)
            self._prepare(first_id=1)

    def _prepare(self, first_id: int) -> None:
        """Prepare the tables and the numbering."""
        self._database.create()
        with self._writing() as connection:
            found = _counters(connection).get("schema")
            if found is None:
                first = [("schema", _SCHEMA), ("id", first_id), ("revision", 0)]
                connection.executemany("INSERT INTO counters VALUES (?, ?)", first)
            elif found < _SCHEMA:
                take_over(connection)
                _set_counter(connection, "schema", _SCHEMA)
            elif found > _SCHEMA:
                raise LedgerError(
                    f"the ledger has version {found}; this program supports only {_SCHEMA}"
                )
            self._number(connection)
            shorten_keys(connection)
        if self._file is not None:  # a copy of the file alone must contain all of this
            with self._file.writing():
                self._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _number(self, connection: sqlite3.Connection) -> None:
        """Find the next id."""
        values = _counters(connection)
        kept = [ident for (ident,) in connection.execute("SELECT id FROM kept_ids")]
        following = values["id"]
        if self._file is not None:
            generation = values.get("generation")
            if generation is None:
                generation = secrets.randbits(_GENERATION_BITS)
                connection.execute("INSERT INTO counters VALUES ('generation', ?)", (generation,))
            reached = values["revision"]  # at least every time at which it was written
            following = self._file.following(generation, following, kept, reached)
        kept = [ident for ident in kept if ident >= following]
        _write_numbers(connection, Numbers((), following, (), (following,)))
        self._numbering = Numbering(following, kept)

    def _reserve(self, revision: int) -> None:
        ceiling = revision + _REVISIONS_AHEAD
        with self._writing() as connection:
            _set_counter(connection, "revision", ceiling)
        self._ceiling = ceiling

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction, which is committed at the end."""
        file = self._file
        with file.writing() if file else nullcontext(), self._database.transaction() as connection:
            yield connection

    def _note(self, intervals: Sequence[Interval]) -> None:
        run = CoreRun(self.began, self._now(), self.policy.least_duration or 0)
        with self._writing() as connection:
            coverage.write_coverage(connection, intervals, run)

    def _trim(self) -> bool:
        with self._writing() as connection:
            return self.policy.enforce(connection, self._now())

    def _record(self, changes: Changes) -> list[int]:
        numbers = self._numbering.plan([opening.stated_id for opening in changes.opened])
        if self._file is not None and changes.opened:
            self._file.cover(numbers.following, numbers.kept)
        with self._writing() as connection:
            # At least the time: so a later start can see that the clock was set back.
            ceiling = max(self._ceiling, self._now() // 1000)
            if ceiling > self._ceiling:
                _set_counter(connection, "revision", ceiling)
            changes.write(connection, numbers.ids, self._now(), self.policy.least_duration)
            if changes.opened:
                _write_numbers(connection, numbers)
        self._ceiling = ceiling
        self._numbering.carry_out(numbers)
        return list(numbers.ids)


def _counters(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT name, value FROM counters"))


def _set_counter(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("UPDATE counters SET value = ? WHERE name = ?", (value, name))


def _write_numbers(connection: sqlite3.Connection, numbers: Numbers) -> None:
    if numbers.kept:
        kept = [(ident,) for ident in numbers.kept]
        connection.executemany("INSERT INTO kept_ids VALUES (?)", kept)
    if numbers.passed:
        connection.execute("DELETE FROM kept_ids WHERE id < ?", (numbers.following,))
    _set_counter(connection, "id", numbers.following)
