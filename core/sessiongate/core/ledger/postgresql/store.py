"""Writes the rows of a ledger in PostgreSQL, on a thread of their own.

Each observation is a transaction, or, if it is large, a few; committed before it returns. If one
fails, or nobody knows whether it was committed, everything of that observation is undone before
anything else is read or written: the core believes that it was not written.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from sessiongate.core.ledger.base import HistorySize
from sessiongate.core.ledger.coverage import CoreRun, Interval
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.policy import ConfirmedClock, HistoryPolicy
from sessiongate.core.ledger.postgresql.advice import advise
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.coverage_rows import (
    confirmed_time,
    observed_until,
    raise_horizon,
    save_coverage,
)
from sessiongate.core.ledger.postgresql.locks import ledger_identity
from sessiongate.core.ledger.postgresql.open_sessions import read_held
from sessiongate.core.ledger.postgresql.ownership import own_sources
from sessiongate.core.ledger.postgresql.pen import Pen
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.rows import WriteStep, steps_of
from sessiongate.core.ledger.rows import Changes
from sessiongate.runtime.core_settings import DEFAULT_SHARD
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)


class PostgresqlStore:
    """A ledger's rows; all calls come from its thread."""

    def __init__(
        self,
        place: LedgerPlace,
        policy: HistoryPolicy,
        now: Callable[[], int],
        *,
        shard: str = DEFAULT_SHARD,
        core: str = "",
    ) -> None:
        self.pen = Pen(place, now, shard=shard, core=core)
        self.policy = policy
        self.last_end = 0  # ns since the epoch: the last end for which there is a partition
        self.size = HistorySize(0, 0, None)  # when it was last measured or written to
        self.identity = ""  # of the ledger, once it was read
        self.noted = 0  # when a core last wrote that it ran, in ns since the epoch
        self._now = now
        self.began = now()
        self._clock = ConfirmedClock(None)
        self._known: dict[str, tuple[float | None, str | None]] = {}
        self._doubtful: list[WriteStep] = []  # may have been written, without an answer

    def prepare(self) -> None:
        """Take the lock and read what is known. Raises `LedgerError`."""
        connection = self.pen.connection
        with connection.naming_errors():
            advise(connection)
            self._clock = ConfirmedClock(confirmed_time(connection))
            known = connection.execute(
                "SELECT coalesce(s.name, p.name), incarnation, place"
                " FROM sources s FULL JOIN places p ON p.name = s.name"
            )
            self._known = {name: (start, place) for name, start, place in known}
            self.identity = ledger_identity(connection)
            ((self.noted,),) = connection.execute("SELECT coalesce(max(noted), 0) FROM shards")

    def close(self) -> None:
        """Take back what is in doubt, as far as possible, and give the lock back."""
        if self._doubtful:
            with suppress(LedgerError):
                self._settled()
        if self._doubtful:
            self.pen.drop()  # some of the ids that are left may be in the ledger
        self.pen.close()

    def confirmed_now(self) -> int:
        """Return the time by which past sessions grow old."""
        return self._clock.read(self._now(), elapsed())

    def known(self, source: str) -> tuple[float | None, str | None]:
        """Return the start of a source's server, and the place that it was last read from."""
        return self._known.get(source, (None, None))

    def places(self) -> dict[str, str]:
        """Return the place that each source was last read from, by name."""
        return {name: place for name, (_, place) in self._known.items() if place is not None}

    def held(self) -> defaultdict[str, dict[str, int]]:
        """Return the places of the shard's open sessions by source and key."""
        return read_held(self._settled(), self.pen.shard)

    def own(self, sources: Collection[str]) -> None:
        """Note which sources the shard has; raise `LedgerError` if another shard has one."""
        self._settled()
        with self.pen.writing() as connection:
            own_sources(connection, self.pen.shard, sources)

    def covered_until(self, source: str) -> int | None:
        """Return when a source was last observed, as far as that is written."""
        connection = self._settled()
        with connection.naming_errors():
            return observed_until(connection, self.pen.shard, source)

    def note(self, intervals: Sequence[Interval]) -> None:
        """Write when sources were observed, and that a core runs."""
        self._settled()
        now = self._now()
        self.began = min(self.began, now)  # else a run would end before it began
        run = CoreRun(self.began, now, self.policy.least_duration or 0)
        confirmed = self._clock.read(now, elapsed())
        with self.pen.writing() as connection:
            save_coverage(connection, self.pen.shard, intervals, run, confirmed)
            if self.policy.age is None:  # whatever is kept later, these ends are not
                raise_horizon(connection, confirmed)

    def record(self, changes: Changes) -> list[int]:
        """Write an observation; return the ids of what it opened."""
        self._settled()
        ids = self.pen.take_ids(len(changes.opened))
        steps = steps_of(
            changes,
            ids,
            now=self._now(),
            last_end=self.last_end,
            least=self.policy.least_duration,
            known=self.known(changes.source),
        )
        try:
            for step in steps:
                with self.pen.writing(len(step.ends)) as connection:
                    step.write(connection)
                    self._doubtful.append(step)  # it may be committed from here on
        except BaseException:
            if self.pen.is_connected:
                with suppress(LedgerError):
                    self._settled()
            raise
        self._doubtful.clear()
        self.pen.give(ids)
        self._remember(changes)
        ends = [step.ends for step in steps if step.ends]
        if ends:
            rows, size, oldest = self.size
            first = min(part[0][0] for part in ends)
            oldest = first if oldest is None else min(oldest, first)
            self.size = HistorySize(rows + sum(map(len, ends)), size, oldest)
        return list(ids)

    def _remember(self, changes: Changes) -> None:
        incarnation, place = self.known(changes.source)
        if changes.incarnation is not None:
            incarnation = changes.incarnation
        if changes.place is not None:
            place = changes.place
        self._known[changes.source] = incarnation, place

    def _settled(self) -> LedgerConnection:
        """Return the connection, once nothing is in doubt. Raises `LedgerError`."""
        while self._doubtful:
            with self.pen.writing() as connection:
                taken = self._doubtful[-1].undo(connection)
                if taken:
                    connection.execute(
                        "UPDATE shards SET past_rows = past_rows - %s WHERE number = %s",
                        *(taken, self.pen.shard),
                    )
            self._doubtful.pop()
        return self.pen.connection
