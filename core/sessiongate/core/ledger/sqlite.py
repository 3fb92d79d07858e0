"""A ledger in SQLite: writes are queued on one thread, and questions answered on others."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sessiongate.core.ledger.base import Current, HistorySize, PageSize, PastSessions
from sessiongate.core.ledger.calls import LedgerCalls
from sessiongate.core.ledger.coverage import Coverage, Interval
from sessiongate.core.ledger.coverage_rows import covered_until, read_coverage
from sessiongate.core.ledger.database import Database
from sessiongate.core.ledger.file import LedgerFile, ledger_path
from sessiongate.core.ledger.history import find_one
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.past import Closing, Opening, past_session
from sessiongate.core.ledger.past_reads import read_counts, read_page
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector
from sessiongate.core.ledger.past_tables import ReadingTables, SqliteTables
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.reader import Reader
from sessiongate.core.ledger.rows import Changes, open_sessions
from sessiongate.core.ledger.store import LedgerStore
from sessiongate.runtime.telemetry.latency import Durations
from sessiongate.v1.history_service_pb2 import PastSession

log = logging.getLogger(__name__)

LEDGER_CLOSE_TIMEOUT = 5.0  # seconds that the last writes may take
SLOW = 3.0  # seconds after which slow opening is logged
MEMORY_BYTES = 64 << 20  # of a ledger in memory, above which the oldest past sessions go
_SLOW = "still waiting for the ledger (%s): its disk hangs or is slow"

_T = TypeVar("_T")


class SqliteLedger:
    """An open, locked ledger, made by `open`; its calls are queued on one thread."""

    def __init__(self, store: LedgerStore, calls: LedgerCalls, file: LedgerFile | None) -> None:
        self._store = store
        self._calls = calls
        self._file = file  # None: in memory
        self._reader: Reader[ReadingTables] | None = None  # of a file
        self.identity = secrets.token_hex(8)  # nobody shares it
        if file is not None:
            self._reader = Reader(partial(ReadingTables, file.path, store.database))

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        policy: HistoryPolicy = HistoryPolicy(),  # noqa: B008 - frozen
        now: Callable[[], int],
        again: int = 0,
        to_move: bool = False,
    ) -> SqliteLedger:
        """Open and lock the ledger at a URL; create it if it does not exist.

        ``policy`` says which past sessions are kept, in memory within `MEMORY_BYTES`; ``now``
        returns ns since the epoch. A corrupt file is set aside, never deleted.
        If a file may lack some of the assigned ids (`core.ledger.file`), or one in memory was
        opened ``again`` that many times, ids continue from the clock in microseconds.
        One that was moved to PostgreSQL is refused. If it is opened ``to_move``, it is not, but a
        corrupt one is.
        Raises `LedgerError`.
        """
        path = ledger_path(url)
        calls = LedgerCalls()
        slow = asyncio.get_running_loop().call_later(SLOW, log.warning, _SLOW, path)
        ledger = None
        try:
            file = await calls.run(partial(LedgerFile, path, now)) if path else None
            if path is None:
                policy = replace(policy, most_bytes=min(policy.most_bytes, MEMORY_BYTES))
            store = LedgerStore(Database(path), file, policy, now)
            ledger = cls(store, calls, file)
            prepare = partial(store.prepare_or_start_over, again=again, starts_over=not to_move)
            await ledger._run(prepare)
            if store.moved_to is not None and not to_move:
                raise LedgerError(
                    f"the ledger {path} was moved to PostgreSQL, to {store.moved_to};"
                    " name that ledger with --ledger postgresql://USER@HOST/DATABASE"
                )
        except BaseException:
            if ledger is not None:
                await ledger.close()
            calls.abandon()
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
                await self._run(self._store.finish)
        except TimeoutError:
            log.error("the ledger's disk hangs; exiting without the last writes")
            self._calls.abandon()
            return  # a write may still complete: only the end of the process releases the lock
        self._calls.close()

    @property
    def policy(self) -> HistoryPolicy:
        """Which past sessions are kept."""
        return self._store.policy

    @property
    def began(self) -> int:
        """The earliest time that the clock has shown since the ledger was opened, in ns."""
        return self._store.began

    @property
    def size(self) -> HistorySize:
        """How much was kept of the past when that was last noted or trimmed."""
        return self._store.size

    @property
    def busy_for(self) -> float:
        """Seconds since a call ended, or the first began, while others wait for it."""
        return self._calls.busy_for

    @property
    def durations(self) -> Durations:
        """How long calls that write took, with the time that they waited for others."""
        return self._calls.durations

    @property
    def failures(self) -> int:
        """How many of these calls failed."""
        return self._calls.failures

    async def is_in_place(self) -> bool:
        """Return whether the ledger's file is still the one that was opened."""
        file = self._file
        return file is None or await self._run(lambda: file.is_in_place)

    async def maintain(self, work: Callable[[LedgerStore], _T]) -> _T:
        """Do some work on the ledger's thread. Raises `LedgerError`."""
        return await self._run(lambda: work(self._store))

    async def ceiling(self) -> int:
        """Return a number above every revision ever used."""
        statement = "SELECT value FROM counters WHERE name = 'revision'"
        ((value,),) = await self._read(statement)
        return int(value)

    async def latest_time(self) -> int:
        """Return the latest time that a write has noted, or a little later, in microseconds."""
        return await self.ceiling()  # which each write raises to the time

    def is_reserved(self, revision: int) -> bool:
        """Return whether no later start uses this revision or a lower one."""
        return revision <= self._store.ceiling

    async def reserve(self, revision: int) -> None:
        """Make sure that no later start uses this revision or a lower one."""
        if not self.is_reserved(revision):
            await self._run(lambda: self._store.reserve(revision))

    async def own(self, sources: Collection[str]) -> None:
        """Do nothing: no other core has any source of a file."""

    async def held(self) -> defaultdict[str, dict[str, int]]:
        """Return the places (`core.place`) of the open sessions, by source and key.

        A source without any has an empty dict. Many are read in short steps, between which
        other threads run.
        """
        return await self._run(lambda: open_sessions(self._store.database.connection))

    async def incarnation(self, source: str) -> float | None:
        """Return the start of the source's server, as last recorded."""
        statement = "SELECT incarnation FROM sources WHERE name = ?"
        return next((start for (start,) in await self._read(statement, source)), None)

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
        return await self._run(lambda: self._store.record(changes))

    async def covered_until(self, source: str) -> int | None:
        """Return when a source was last observed, in ns since the epoch, as far as is written."""
        return await self._run(lambda: covered_until(self._store.database.connection, source))

    async def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs. Raises `LedgerError`."""
        await self._run(lambda: self._store.note(intervals))

    async def trim(self) -> bool:
        """Delete some past sessions that are no longer kept; return whether there may be more.

        Raises `LedgerError`.
        """
        return await self._run(self._store.trim)

    async def page(
        self,
        selector: PastSelector,
        after: PastPlace | None,
        most: PageSize,
        time: tuple[int, int],
        current: Current,
    ) -> PastSessions:
        """Return the sessions that follow a place, and what is known of a ``time``."""
        return await self._ask(
            lambda tables: PastSessions(
                *read_page(tables, selector, after, most, current),
                read_coverage(tables.connection, self.policy, *time),
            )
        )

    async def count(
        self,
        selector: PastSelector,
        moments: Moments,
        column: str | None,
        time: tuple[int, int],
        current: Current,
        counted: Callable[[Counted], None],
    ) -> Coverage:
        """Count the sessions at some moments by a column; return what is known of a ``time``."""

        def answer(tables: SqliteTables) -> Coverage:
            read_counts(tables, selector, moments, column, current, counted)
            return read_coverage(tables.connection, self.policy, *time)

        return await self._ask(answer)

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id, ended or not."""
        row = await self._ask(lambda tables: find_one(tables, ident))
        return None if row is None else past_session(row)

    async def _ask(self, question: Callable[[SqliteTables], _T]) -> _T:
        """Answer a question about the past from one state of the database."""
        if self._reader is not None:
            return await self._reader.read(question)
        return await self._run(lambda: question(SqliteTables(self._store.database.connection)))

    async def _run(self, work: Callable[[], _T]) -> _T:
        def named() -> _T:
            with self._store.database.naming_errors():
                return work()

        return await self._calls.run(named)

    async def _read(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return await self._run(
            lambda: self._store.database.connection.execute(statement, values).fetchall()
        )
