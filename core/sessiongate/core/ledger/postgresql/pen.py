"""The right to write to a ledger: a lock of PostgreSQL, held by the connection that writes.

The core that has the lock claims the shard, so that each transaction can begin by checking that the
claim is still its own: a lock alone says nothing of what happened to the tables meanwhile.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg

from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.postgresql.connection import (
    Backend,
    LedgerAwayError,
    LedgerConnection,
)
from sessiongate.core.ledger.postgresql.ids import jump_ids, read_counters, reserve_ids
from sessiongate.core.ledger.postgresql.locks import obtain_lock
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import (
    COPYING,
    TABLES_FILE,
    require_tables,
    shard_number,
)
from sessiongate.core.ledger.postgresql.starts import (
    INSTANCE_BITS,
    LOST_BESIDE,
    ReservedStart,
    is_where_it_was,
    lost_starts,
)
from sessiongate.runtime.core_settings import DEFAULT_SHARD
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

_SETTLING = 3.0  # seconds after a jump: by then no clock shows an earlier time
_RETRY = (0.2, 5.0)  # seconds between two attempts to connect: the first, and the most
_APPLICATION = "sessiongate core"
_CLAIM = """
UPDATE shards SET claim = claim + 1, pid = %s, backend_start = %s
WHERE number = %s RETURNING claim, writes
"""
_FORMER = "SELECT pid, backend_start FROM shards WHERE number = %s FOR UPDATE"
_CHECK = """
UPDATE shards SET writes = writes + 1, past_rows = past_rows + %d
WHERE number = %d AND claim = %d AND writes = %d AND pid = pg_backend_pid()
"""
# What is written is found by its key: to read all rows of a table for some of them takes as long
# as there are rows, of which the server may know no number.
_BY_KEY = "SET LOCAL enable_seqscan = off"


_STATE = "UPDATE cores SET pen_pid = %s, pen_start = %s WHERE name = %s"
# So that others see who writes, and since when.
_TELL = """
INSERT INTO actives AS a VALUES (%s, %s, %s, %s, clock_timestamp()) ON CONFLICT (shard) DO UPDATE
SET claim = excluded.claim, core = excluded.core, instance = excluded.instance,
    since = CASE WHEN (a.core, a.instance) = (excluded.core, excluded.instance) THEN a.since
        ELSE excluded.since END
"""


class _Claimed(NamedTuple):
    """A claim that is being committed."""

    number: int
    writes: int  # of the shard so far
    counter: int  # the last id that was reserved
    instance: int  # of this start


class Pen:
    """The writing connection; it is made when needed, and again after it was lost.

    All calls come from one thread, but those of `cut`, `put_down`, `take_up` and what they show.
    """

    def __init__(
        self,
        place: LedgerPlace,
        now: Callable[[], int],
        *,
        shard: str = DEFAULT_SHARD,
        core: str = "",
        takes_unfinished: bool = False,
    ) -> None:
        """Write what is in a shard to the ledger at a place; ``now`` returns ns since the epoch.

        Others see that ``core`` has the pen. A copy that is not complete is refused unless
        ``takes_unfinished``.
        """
        self._shard_name, self._core = shard, core
        self._takes_unfinished = takes_unfinished
        self.place = place
        self.name = f"{_APPLICATION} {socket.gethostname()} {os.getpid()}"[:63]
        self.instance = 0  # of this start: the upper bits of its revisions
        self._now = now
        self._connection: LedgerConnection | None = None
        self._asked: LedgerConnection | None = None  # the same, or one that is being made
        self.is_superseded = False  # what this core knows is not what the ledger has
        self.shard, self._claim = 0, 0
        self._writes = 0  # transactions that were committed in this shard, of any core
        self._is_in_doubt = False  # whether one more was
        self._claims_in_doubt = 0  # since the last that is known to be committed
        self._mine: set[Backend] = set()  # what may still have the lock for this core
        self._claimers: set[Backend] = set()  # of these, one has made the last claim of this core
        self._seen = 0  # no id above it was given, as far as this core knows
        self.has_others = False  # other cores may give ids, too
        self.floor = 0  # an id that was reserved, as this core has seen at its looks
        self.reserved: ReservedStart | None = None  # what it would be as `instance`, if possible
        self._ids = range(0)
        self._usable_at = 0.0  # on the clock `elapsed`: ids after a jump
        self.is_down = self._is_closed = False  # it must not be taken, for now or ever
        self.was_put_down = False  # and is not had again
        self._failures, self._retry_at = 0, 0.0
        self._reason: LedgerError | None = None

    @property
    def waits_for(self) -> float:
        """Seconds for which the server has not answered a statement."""
        asked = self._asked
        return 0.0 if asked is None else asked.waits_for

    def cut(self) -> None:
        """Make what waits for the server fail."""
        asked = self._asked
        if asked is not None:
            asked.cut()

    def put_down(self) -> None:
        """Give the lock back, whatever is under way, and do not take it until `take_up`."""
        self.is_down = self.was_put_down = True
        self.cut()

    def take_up(self) -> None:
        """Let the lock be taken again, at once."""
        self.is_down, self._retry_at = False, 0.0

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_lost

    @property
    def connection(self) -> LedgerConnection:
        """The connection, with the lock. Raises `LedgerError`.

        After a failure, the next attempt is made a little later; until then, the same error is
        raised, so that many who ask do not wait for one server that is away.
        """
        if self.is_superseded:
            raise LedgerError(f"the ledger ({self.place}) is no longer what this core knows")
        if self._is_closed:
            raise LedgerError(f"the ledger ({self.place}) is closed")
        if self.is_down:
            raise LedgerAwayError(
                f"the ledger ({self.place}) is not written to: this core cannot show the others"
                " that it runs"
            )
        if self._connection is not None and self._connection.is_lost:
            self.drop()
        if self._connection is None:
            if self._reason is not None and elapsed() < self._retry_at:
                raise self._reason
            try:
                self._connection = self._open()
            except LedgerError as error:
                first, most = _RETRY
                self._retry_at = elapsed() + min(most, first * 2**self._failures)
                self._failures, self._reason = min(self._failures + 1, 10), error
                raise
            self._failures, self._reason, self.was_put_down = 0, None, False
        return self._connection

    def drop(self) -> None:
        """Close the connection, and with it give the lock back."""
        connection, self._connection, self._ids = self._connection, None, range(0)
        if connection is not None:
            connection.close()

    def make_sure(self) -> None:
        """Take the lock, also if only this core believes that it has it. Raises `LedgerError`."""
        if self.is_connected:
            with suppress(LedgerError), self.writing():
                return
        self.connection  # noqa: B018 - it is made

    def close(self) -> None:
        """Give back the ids that were not given, and the lock.

        Others that have seen that these were reserved would take the ledger for an older one.
        """
        if self.is_connected and self._ids and not self.has_others:
            with suppress(LedgerError), self.writing() as connection:
                connection.execute(
                    "UPDATE counters SET value = %s WHERE name = 'id' AND value = %s",
                    *(self._ids.start - 1, self._ids.stop - 1),
                )
        self._is_closed = True
        self.drop()

    @contextmanager
    def writing(self, more_past: int = 0) -> Iterator[LedgerConnection]:
        """Run a transaction under the claim, which is committed at the end.

        It begins by adding ``more_past`` to the number of past sessions. Raises `LedgerError`;
        then nothing is written, or, if the connection is lost, it is not known.
        """
        connection = self.connection
        with connection.naming_errors():
            connection.warned, self._is_in_doubt = False, True
            try:
                check = _CHECK % (more_past, self.shard, self._claim, self._writes)
                with connection.transaction("", _BY_KEY, check) as (_, checked):
                    if checked.command_tuples != 1:
                        self.drop()  # the next connection finds out what has happened
                        raise connection.error("is not as this core left it")
                    yield connection
            except psycopg.errors.UniqueViolation:
                self.drop()  # somebody else has written
                raise
        self._writes, self._is_in_doubt = self._writes + 1, False
        if connection.warned:  # it is committed here, and perhaps on no other server
            self.drop()
            raise connection.error("may not have written to a standby")

    def take_ids(self, number: int) -> range:
        """Return ids that nobody else has; they stay the next ones until `give`."""
        if len(self._ids) < number:
            self._ids = self._block(number)
        time.sleep(max(0.0, self._usable_at - elapsed()))
        return self._ids[:number]

    def give(self, ids: range) -> None:
        """Note that ids were given."""
        self._ids = range(ids.stop, self._ids.stop)

    def _block(self, number: int) -> range:
        """Reserve ids that follow each other."""
        with self.writing() as connection:
            ids, has_others = reserve_ids(connection, self.shard, self._core, number)
        self._seen, self.has_others = ids.stop - 1, self.has_others or has_others
        return ids

    def _open(self) -> LedgerConnection:
        connection = self._asked = LedgerConnection(self.place, self.name)
        self._mine.add(connection.backend)
        try:
            with connection.naming_errors():
                require_tables(connection)
                begun = connection.execute("SELECT FROM counters WHERE name = %s", COPYING).rowcount
                if begun and not self._takes_unfinished:
                    text = "is a copy that is not complete: run sessiongate ledger copy again"
                    raise connection.error(text)
                # Before: a core that hangs is ended by what is stated of it.
                mine = *connection.backend, self._core
                if self._core and not connection.execute(_STATE, *mine).rowcount:
                    raise LedgerAwayError(f"the ledger ({self.place}) lacks this core's entry")
                self._take_lock(connection)
                self._mine = {connection.backend}
                with connection.transaction():
                    claimed = self._meet(connection)
            self._claim, self._writes, counter, self.instance = claimed
            self._is_in_doubt, self._claims_in_doubt = False, 0
            self._claimers = {connection.backend}
            self._seen = max(self._seen, counter)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_lock(self, connection: LedgerConnection) -> None:
        """Take the shard's lock; end the backend that has it, if that was this core's own."""
        self.shard = shard_number(connection, self._shard_name)
        holder = obtain_lock(connection, self.shard, self._mine)
        if holder is not None:
            raise LedgerHeldError(str(connection.error(f"is in use by {holder}")))

    def _meet(self, connection: LedgerConnection) -> _Claimed:
        """Claim the shard; make sure that no id can be given twice, whatever the server was."""
        server, is_same = connection.server, is_where_it_was(connection)
        self._claims_in_doubt += 1
        former = connection.row(_FORMER, self.shard)
        ((claim, writes),) = connection.execute(_CLAIM, *connection.backend, self.shard)
        if self._claim:
            self._compare(claim, writes, Backend(*former))
        self._claimers.add(connection.backend)
        counter, instance, has_others = read_counters(connection, self.shard, self._core)
        self.has_others = self.has_others or has_others
        is_behind = counter < max(self._seen, self.floor)
        # A core that alone gives ids, and has seen them all, knows that none is missing.
        has_seen_all = self._seen > 0 and not self.has_others
        reserved = None if self.instance else self.reserved
        if is_behind or not (is_same or has_seen_all):
            counter, instance = self._jump(connection), instance + lost_starts()
            reserved = None
        elif not is_same:  # no id was lost, but perhaps starts of others
            instance += LOST_BESIDE
        if not is_same:
            connection.execute(
                "UPDATE engine SET system_identifier = %s, timeline = %s, started = %s,"  # noqa: S608
                f" tables = {TABLES_FILE}, generation = generation + 1",
                *(server.system, server.timeline, server.started),
            )
        mine = self.instance  # known to be committed: else others may have that number
        if reserved and reserved.is_next(connection, self._shard_name):
            mine = reserved.instance
        # Above every revision of a ledger whose revisions were times.
        mine = mine or max(instance, self._now() // 1000 >> INSTANCE_BITS) + 1
        connection.execute(
            "UPDATE counters SET value = greatest(value, %s) WHERE name = 'instance'",
            max(instance, mine),
        )
        if self._core:
            connection.execute(_TELL, self.shard, claim, self._core, mine)
        return _Claimed(claim, writes, counter, mine)

    def _compare(self, claim: int, writes: int, former: Backend) -> None:
        """Raise `LedgerHeldError` if another core has written, `LedgerError` if writes are lost."""
        is_ours = former in self._claimers
        if claim > self._claim + self._claims_in_doubt or (claim > self._claim and not is_ours):
            self.is_superseded = True
            raise LedgerHeldError(f"the ledger ({self.place}) was used by another core meanwhile")
        if claim <= self._claim or not 0 <= writes - self._writes <= self._is_in_doubt:
            self.is_superseded = True
            raise LedgerError(
                f"the ledger ({self.place}) has lost some of the last writes: its server was"
                " restored, or a standby was promoted that did not have them"
            )

    def _jump(self, connection: LedgerConnection) -> int:
        """Continue the ids from the clock: the server may have lost some that were given."""
        last = jump_ids(connection, max(self._seen, self.floor), self._now())
        self._usable_at = elapsed() + _SETTLING
        log.warning(
            "the ledger (%s) is on a server that was restarted or restored: it may be older than"
            " the ids that were given, which continue from %d",
            *(self.place, last + 1),
        )
        return last
