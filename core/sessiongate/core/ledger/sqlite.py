"""Session ids that survive a restart (SQLAlchemy Core; SQLite).

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
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from sessiongate.core.collect.keys import shorten_all
from sessiongate.core.ledger.file import CorruptError, LedgerFile, ledger_path
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.numbering import Numbering, Numbers, from_clock
from sessiongate.core.ledger.rows import Changes, Opening, open_sessions
from sessiongate.core.ledger.schema import counters, create, kept_ids, places, sessions, sources
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

# Revisions reserved by one write, which then suffices for as many changes.
_REVISIONS_AHEAD = 1_000_000
LEDGER_CLOSE_TIMEOUT = 5.0  # seconds that the last writes may take
SLOW = 3.0  # seconds after which slow opening is logged
_SLOW = "still waiting for the ledger (%s): its disk hangs or is slow"
_FORGET_EVERY = 3600 * 10**9  # ns between two deletions of sessions that closed long ago
_SCHEMA = 2
_WITHOUT_KEPT_IDS = 1  # its programs must not open version 2: they would repeat kept ids
_GENERATION_BITS = 62  # SQLite's integers have 63 and a sign
_APART = 1 << 32  # ids, or 71 minutes of the clock, from one core in memory to the next
_WAL_BYTES = 16 * 1024 * 1024  # of the write-ahead log after a checkpoint

_is_id = counters.c.name == "id"

_T = TypeVar("_T")


class Ledger:
    """An open, locked ledger, made by `Ledger.open`; its calls are queued on one thread."""

    def __init__(
        self,
        engine: sa.Engine,
        thread: ThreadPoolExecutor,
        file: LedgerFile | None,
        retention: float,
        now: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._thread = thread
        # Calls, and when one last ended, or the first of them began.
        self._waiting, self._moved = 0, 0.0
        self._file = file  # None: in memory
        self._retention = int(retention * 1e9)  # ns
        self._now = now
        self._forgot = -_FORGET_EVERY  # when sessions that closed long ago were last deleted
        self._ceiling = 0
        self._numbering = Numbering(1)  # replaced once the file is read

    @classmethod
    async def open(
        cls, url: str, *, retention: float, now: Callable[[], int], again: int = 0
    ) -> Ledger:
        """Open and lock the ledger at a URL; create it if it does not exist.

        ``retention`` is how long closed sessions are kept, in seconds; ``now``
        returns ns since the epoch. A corrupt file is set aside, never deleted.
        If a file may lack some of the assigned ids (`core.ledger.file`), or one in memory was
        opened ``again`` that many times, ids continue from the clock in microseconds.
        Raises `LedgerError`.
        """
        path = ledger_path(url)
        engine = _engine(path)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        loop = asyncio.get_running_loop()
        slow = loop.call_later(SLOW, log.warning, _SLOW, path)
        ledger = None
        try:
            file = await loop.run_in_executor(thread, LedgerFile, path, now) if path else None
            ledger = cls(engine, thread, file, retention, now)
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
        wanted = sa.select(counters.c.value).where(counters.c.name == "revision")
        return await self._read(lambda connection: connection.execute(wanted).scalar_one())

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
        return await self._read(open_sessions)

    async def incarnation(self, source: str) -> float | None:
        """Return the start of the source's server, as last recorded."""
        wanted = sa.select(sources.c.incarnation).where(sources.c.name == source)
        return await self._read(lambda connection: connection.execute(wanted).scalar())

    async def places(self) -> dict[str, str]:
        """Return the place that each source was last read from, by name."""
        wanted = sa.select(places.c.name, places.c.place)
        rows = await self._read(lambda connection: connection.execute(wanted).all())
        return {name: place for name, place in rows}  # noqa: C416 - rows are no pairs to mypy

    async def record(
        self,
        source: str,
        *,
        opened: Sequence[Opening],
        closed: Sequence[int],
        incarnation: float | None,
        rekeyed: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,
    ) -> list[int]:
        """Record one observation; return the ids of ``opened``, in order.

        `Numbering` assigns them. For the arguments see `core.ledger.rows.Changes`.
        Raises `LedgerError`; then nothing is written.
        """
        changes = Changes(source, opened, closed, incarnation, rekeyed, place)
        return await self._run(lambda: self._record(changes))

    async def _run(self, work: Callable[[], _T]) -> _T:
        def named() -> _T:
            with _named(self._engine):
                return work()

        self._moved = self._moved if self._waiting else elapsed()
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, named)
        finally:
            self._waiting -= 1
            self._moved = elapsed()

    async def _read(self, work: Callable[[sa.Connection], _T]) -> _T:
        def read() -> _T:
            with self._engine.connect() as connection:
                return work(connection)

        return await self._run(read)

    def _finish(self) -> None:
        """Release the file, with nothing left in its write-ahead log."""
        is_ours = self._file is not None and self._file.is_in_place
        self._engine.dispose()
        if self._file is not None:
            self._file.close(self._numbering.following if is_ours else None)

    def _prepare_or_start_over(self, *, again: int) -> None:
        if self._file is None:
            # Higher each time: the clock may show the same time again.
            following = from_clock(self._now() // 1000) + again * _APART
            self._prepare(first_id=following if again else 1)
            return
        try:
            with _named(self._engine):
                self._file.require()
                self._check()
                self._prepare(first_id=1)
        except CorruptError as error:
            self._engine.dispose()
            self._file.set_aside(error)
            self._prepare(first_id=1)

    def _check(self) -> None:
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise CorruptError(f"the ledger ({self._engine.url.database}) is corrupt: {found}")

    def _prepare(self, first_id: int) -> None:
        """Prepare the tables and the numbering."""
        create(self._engine)
        with self._writing() as connection:
            found = connection.execute(
                sa.select(counters.c.value).where(counters.c.name == "schema")
            ).scalar()
            if found is None:
                first = [
                    {"name": "schema", "value": _SCHEMA},
                    {"name": "id", "value": first_id},
                    {"name": "revision", "value": 0},
                ]
                connection.execute(sa.insert(counters), first)
            elif found == _WITHOUT_KEPT_IDS:
                _set_counter(connection, "schema", _SCHEMA)
            elif found != _SCHEMA:
                raise LedgerError(
                    f"the ledger has version {found}; this program supports only {_SCHEMA}"
                )
            self._number(connection)
            self._forget(connection)
            shorten_all(connection, sessions)
        if self._file is not None:  # a copy of the file alone must contain all of this
            with self._file.writing(), self._engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _number(self, connection: sa.Connection) -> None:
        """Find the next id."""
        found = connection.execute(sa.select(counters.c.name, counters.c.value))
        values = {name: value for name, value in found}  # noqa: C416 - rows are no pairs to mypy
        kept = connection.execute(sa.select(kept_ids.c.id)).scalars().all()
        following = values["id"]
        if self._file is not None:
            generation = values.get("generation")
            if generation is None:
                generation = secrets.randbits(_GENERATION_BITS)
                connection.execute(sa.insert(counters).values(name="generation", value=generation))
            reached = values["revision"]  # at least every time at which it was written
            following = self._file.following(generation, following, kept, reached)
        kept = [ident for ident in kept if ident >= following]
        _write_numbers(connection, Numbers((), following, (), (following,)))
        self._numbering = Numbering(following, kept)

    def _forget(self, connection: sa.Connection) -> None:
        """Delete sessions that closed long ago, if the last deletion is long ago."""
        if (now := self._now()) - self._forgot >= _FORGET_EVERY:
            old = sessions.c.closed_time < now - self._retention
            connection.execute(sa.delete(sessions).where(old))
            self._forgot = now

    def _reserve(self, revision: int) -> None:
        ceiling = revision + _REVISIONS_AHEAD
        with self._writing() as connection:
            _set_counter(connection, "revision", ceiling)
        self._ceiling = ceiling

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Run a transaction, which is committed at the end."""
        file = self._file
        with file.writing() if file else nullcontext(), self._engine.begin() as connection:
            yield connection

    def _record(self, changes: Changes) -> list[int]:
        numbers = self._numbering.plan([opening.stated_id for opening in changes.opened])
        if self._file is not None and changes.opened:
            self._file.cover(numbers.following, numbers.kept)
        with self._writing() as connection:
            self._forget(connection)
            # At least the time: so a later start can see that the clock was set back.
            ceiling = max(self._ceiling, self._now() // 1000)
            if ceiling > self._ceiling:
                _set_counter(connection, "revision", ceiling)
            changes.write(connection, numbers.ids, self._now())
            if changes.opened:
                _write_numbers(connection, numbers)
        self._ceiling = ceiling
        self._numbering.carry_out(numbers)
        return list(numbers.ids)


@contextmanager
def _named(engine: sa.Engine) -> Iterator[None]:
    """Convert the database's errors to `LedgerError`, with the ledger's name."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        where = engine.url.database or "in memory"
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        corrupt = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        kind = CorruptError if corrupt else LedgerError
        raise kind(f"the ledger ({where}) failed: {error.orig}") from error


def _write_numbers(connection: sa.Connection, numbers: Numbers) -> None:
    if numbers.kept:
        connection.execute(sa.insert(kept_ids), [{"id": ident} for ident in numbers.kept])
    if numbers.passed:
        passed = sa.delete(kept_ids).where(kept_ids.c.id < numbers.following)
        connection.execute(passed)
    _set_counter(connection, "id", numbers.following)


def _set_counter(connection: sa.Connection, name: str, value: int) -> None:
    connection.execute(sa.update(counters).where(counters.c.name == name).values(value=value))


def _engine(path: Path | None) -> sa.Engine:
    if path is None:
        shared = {"check_same_thread": False}
        return sa.create_engine("sqlite://", poolclass=StaticPool, connect_args=shared)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))

    @sa.event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        # WAL with a sync per commit: an assigned id survives a power cut.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")

    return engine
