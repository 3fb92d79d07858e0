"""Writes the rows and counters of a ledger on its thread, in transactions.

No id is assigned twice, and a ceiling above every revision ever used is kept. Each call that
writes is one transaction, committed before it returns.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from sessiongate.core.ledger.base import HistorySize
from sessiongate.core.ledger.checkpoints import Checkpoints
from sessiongate.core.ledger.coverage import CoreRun, Interval
from sessiongate.core.ledger.coverage_rows import CONFIRMED, move_horizon, write_coverage
from sessiongate.core.ledger.database import Database, counters, moved_to, set_counter, take_over
from sessiongate.core.ledger.file import CorruptError, LedgerFile
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.numbering import Numbering, Numbers, from_clock
from sessiongate.core.ledger.policy import ConfirmedClock, HistoryPolicy
from sessiongate.core.ledger.retention import trim_past, used_bytes
from sessiongate.core.ledger.rows import Changes, shorten_keys
from sessiongate.runtime.elapsed import elapsed

# Revisions reserved by one write, which then suffices for as many changes.
_REVISIONS_AHEAD = 1_000_000
_PAST = "history_rows"  # the counter of past sessions
_SCHEMA = 3  # 1: without kept ids; 2: without history
_GENERATION_BITS = 62  # SQLite's integers have 63 and a sign
_APART = 1 << 32  # ids, or 71 minutes of the clock, from one core in memory to the next


class LedgerStore:
    """A ledger's file or memory, its numbering and its rows."""

    def __init__(
        self,
        database: Database,
        file: LedgerFile | None,
        policy: HistoryPolicy,
        now: Callable[[], int],
    ) -> None:
        self.database = database
        self._file = file  # None: in memory
        self.policy = policy
        self._now = now
        self.began = now()
        self.ceiling = 0  # of the revisions that are reserved
        self.moved_to: str | None = None  # the place of the ledger that has replaced this one
        # These are replaced once the file is read.
        self.size = HistorySize(0, 0, None)
        self._numbering = Numbering(1)
        self._clock = ConfirmedClock(None)
        self._checkpoints: Checkpoints | None = None

    @property
    def next_id(self) -> int:
        """A number above all ids that were assigned."""
        return self._numbering.beyond

    def finish(self) -> None:
        """Release the file, with nothing left in its write-ahead log."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        is_ours = self._file is not None and self._file.is_in_place
        self.database.close()
        if self._file is not None:
            self._file.close(self._numbering.following if is_ours else None)

    def prepare_or_start_over(self, *, again: int, starts_over: bool = True) -> None:
        """Prepare the database; set a corrupt file aside, and start with an empty one.

        Raises `LedgerError`, also for a corrupt file if it is not to start over.
        """
        if self._file is None:
            # Higher each time: the clock may show the same time again.
            following = from_clock(self._now() // 1000) + again * _APART
            self._prepare(first_id=following if again else 1)
            return
        try:
            with self.database.naming_errors():
                self._file.require()
                self.database.check()
                self._prepare(first_id=1)
        except CorruptError as error:
            if not starts_over:
                raise
            self.database.close()
            self._file.set_aside(error)
            self._prepare(first_id=1)

    def _prepare(self, first_id: int) -> None:
        """Prepare the tables and the numbering."""
        self.database.create()
        with self._writing() as connection:
            found = counters(connection).get("schema")
            if found is None:
                first = [("schema", _SCHEMA), ("id", first_id), ("revision", 0)]
                connection.executemany("INSERT INTO counters VALUES (?, ?)", first)
            elif found < _SCHEMA:
                take_over(connection)
                set_counter(connection, "schema", _SCHEMA)
            elif found > _SCHEMA:
                raise LedgerError(
                    f"the ledger has version {found}; this program supports only {_SCHEMA}"
                )
            self.moved_to = moved_to(connection)
            self._number(connection)
            shorten_keys(connection)
            values = counters(connection)
            if _PAST not in values:
                connection.execute(
                    "INSERT INTO counters SELECT ?, count(*) FROM past_sessions", (_PAST,)
                )
            self._clock = ConfirmedClock(values.get(CONFIRMED))
            self._measure(connection)
        if self._file is not None:  # a copy of the file alone must contain all of this
            with self._file.writing():
                self.database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._checkpoints = Checkpoints(self._file, self.database.between_transactions)

    def _number(self, connection: sqlite3.Connection) -> None:
        """Find the next id."""
        values = counters(connection)
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

    def reserve(self, revision: int) -> None:
        """Reserve revisions up to above this one."""
        ceiling = revision + _REVISIONS_AHEAD
        with self._writing() as connection:
            set_counter(connection, "revision", ceiling)
        self.ceiling = ceiling

    def mark_as_moved(self, place: str) -> None:
        """Note that another ledger has replaced this one."""
        with self._writing() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS moved (place VARCHAR NOT NULL)")
            connection.execute("DELETE FROM moved")
            connection.execute("INSERT INTO moved VALUES (?)", (place,))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction, which is committed at the end."""
        file = self._file
        with file.writing() if file else nullcontext(), self.database.transaction() as connection:
            yield connection
        if self._checkpoints is not None:
            self._checkpoints.wrote(connection.total_changes)

    def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs."""
        now = self._now()
        self.began = min(self.began, now)  # else a run would end before it began
        run = CoreRun(self.began, now, self.policy.least_duration or 0)
        confirmed = self._clock.read(now, elapsed())
        with self._writing() as connection:
            write_coverage(connection, intervals, run, confirmed)
            if self.policy.age is None:  # whatever is kept later, these ends are not
                move_horizon(connection, confirmed)
            self._measure(connection)

    def trim(self) -> bool:
        """Delete some past sessions that are no longer kept; return whether there may be more."""
        now = self._clock.read(self._now(), elapsed())
        with self._writing() as connection:
            dropped, has_more = trim_past(connection, self.policy, now)
            if dropped:
                _add(connection, _PAST, -dropped)
            self._measure(connection)
        return has_more

    def _measure(self, connection: sqlite3.Connection) -> None:
        """Read how much is kept."""
        ((oldest,),) = connection.execute(
            "SELECT (SELECT end_time FROM past_sessions ORDER BY end_time, id LIMIT 1)"
        )
        rows = counters(connection).get(_PAST, 0)
        self.size = HistorySize(rows, used_bytes(connection), oldest)

    def record(self, changes: Changes) -> list[int]:
        """Write an observation; return the ids of what it opened."""
        numbers = self._numbering.plan([opening.stated_id for opening in changes.opened])
        if self._file is not None and changes.opened:
            self._file.cover(numbers.following, numbers.kept)
        with self._writing() as connection:
            # At least the time: so a later start can see that the clock was set back.
            ceiling = max(self.ceiling, self._now() // 1000)
            if ceiling > self.ceiling:
                set_counter(connection, "revision", ceiling)
            kept = changes.write(connection, numbers.ids, self._now(), self.policy.least_duration)
            if kept:
                _add(connection, _PAST, kept)
            if changes.opened:
                _write_numbers(connection, numbers)
        self.ceiling = ceiling
        self._numbering.carry_out(numbers)
        return list(numbers.ids)


def _add(connection: sqlite3.Connection, name: str, difference: int) -> None:
    connection.execute("UPDATE counters SET value = value + ? WHERE name = ?", (difference, name))


def _write_numbers(connection: sqlite3.Connection, numbers: Numbers) -> None:
    if numbers.kept:
        kept = [(ident,) for ident in numbers.kept]
        connection.executemany("INSERT INTO kept_ids VALUES (?)", kept)
    if numbers.passed:
        connection.execute("DELETE FROM kept_ids WHERE id < ?", (numbers.following,))
    set_counter(connection, "id", numbers.following)
