"""A program's place in the fleet: the lock on its name, and the row that describes it.

It has a connection of its own, so that it is seen to run while another of its connections waits.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TypeVar

from psycopg.types.json import Jsonb

from sessiongate.core.fleet.agreement import MemberSources
from sessiongate.core.fleet.directory import Fleet, read_fleet
from sessiongate.core.ledger.lock import LedgerError, LedgerHeldError
from sessiongate.core.ledger.postgresql.connection import (
    Backend,
    LedgerAwayError,
    LedgerConnection,
)
from sessiongate.core.ledger.postgresql.copying import storable_value
from sessiongate.core.ledger.postgresql.locks import (
    HELD_LOCKS,
    NAMES,
    end_holder,
    obtain_lock,
)
from sessiongate.core.ledger.postgresql.ownership import refuse_sources_of_others
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import MAKING, require_tables, shard_number
from sessiongate.core.ledger.postgresql.suspects import SourceReader
from sessiongate.runtime.elapsed import elapsed

_T = TypeVar("_T")

# Seconds for which a name may be locked by a core that does not beat: the server needs 25 to notice
# that a machine is gone (`tcp_keepalives_…`).
_HELD = 40.0
_QUIET = 5.0  # for which `Member.call` fails after a failure
_ADD = """
INSERT INTO cores (name, number, kind, host, version, started)
SELECT %s, coalesce(max(number), 0) + 1, %s, '', '', clock_timestamp() FROM cores
ON CONFLICT (name) DO NOTHING
"""
_DESCRIBE = """
UPDATE cores SET kind = %s, shard = %s, address = %s, host = %s, version = %s, started = %s,
    pid = %s, backend_start = %s, sources = %s, observed = %s, unreadable = %s
WHERE name = %s
"""
_TELL = "UPDATE cores SET observed = %s, unreadable = %s WHERE name = %s"
_SOURCES = f"""
SELECT c.name, s.name, c.sources FROM cores c LEFT JOIN shards s ON s.number = c.shard
WHERE EXISTS (SELECT FROM ({HELD_LOCKS}) held WHERE held.lock = c.number + {NAMES})
ORDER BY c.name
"""  # noqa: S608 - our own text
_BEAT = """
UPDATE cores SET beat = beat + 1, clock_off = %s
WHERE name = %s AND (pid, backend_start) = (%s, %s)
"""


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """The description of a program for the others."""

    name: str
    shard: str | None = None  # that it serves, if it is a core
    address: str | None = None  # where others can call it
    places: Mapping[str, str] = field(default_factory=dict)  # of its sources, by name

    @property
    def kind(self) -> str:
        """A core has a shard, a front has none."""
        return "front" if self.shard is None else "core"


class Member:
    """One program in the fleet; all calls but `cut` and `waits_for` come from one thread."""

    def __init__(self, place: LedgerPlace, entry: MemberEntry) -> None:
        self.entry = entry
        self._place = place
        self._connection: LedgerConnection | None = None
        self._mine: set[Backend] = set()  # what may still have the lock for this program
        self._started = datetime.now(UTC)
        self._is_durable, self._durable = False, "on"  # how beats, and other writes, commit
        self._observed: tuple[datetime | None, list[str]] = (None, [])
        self._quiet_until = 0.0  # on `elapsed`: until then, `call` fails
        self._held: tuple[float, Backend, int] | None = None  # since when by whom, at which beat

    @property
    def waits_for(self) -> float:
        """Seconds for which the server has not answered a statement."""
        connection = self._connection
        return 0.0 if connection is None else connection.waits_for

    def cut(self) -> None:
        """Make what waits for the server fail."""
        connection = self._connection
        if connection is not None:
            connection.cut()

    def look(
        self, *, beats: bool = True, is_durable: bool = False, off: float = 0.0
    ) -> tuple[Fleet, int]:
        """Return who is in the fleet, and this program's own beat; join the fleet if needed.

        If it ``beats``, others see that it runs; durably, if the beat is to wait for the disk and
        for standbys as other writes do; and how far its clock is ``off``. Raises `LedgerError`;
        `LedgerHeldError` if another program has the name.
        """
        connection = self._joined()
        try:
            with connection.naming_errors():
                if beats:
                    self._beat(connection, is_durable=is_durable, off=off)
                fleet = read_fleet(connection)
        except LedgerError:  # the next connection makes tables that are gone
            self.close()
            raise
        for each in fleet.members:
            if each.name == self.entry.name:
                return fleet, each.beat
        raise self._forgotten(connection)

    def tell(self, observed: datetime | None, unreadable: Sequence[str]) -> None:
        """State when this program last read its sources, and which it could not read."""
        self._observed = observed, [storable_value(name) for name in unreadable]
        connection = self._joined()
        with connection.naming_errors():
            connection.execute(_TELL, *self._observed, self.entry.name)

    def others(self) -> list[MemberSources]:
        """Return what the running programs of the fleet state of their sources."""
        connection = self._joined()
        with connection.naming_errors():
            found = connection.execute(_SOURCES).fetchall()
        return [MemberSources(name, shard, places or {}) for name, shard, places in found]

    @property
    def reader(self) -> SourceReader:
        """This program as one that reads sources."""
        return SourceReader(self.entry.name, self._started)

    def call(self, work: Callable[[LedgerConnection], _T]) -> _T:
        """Return what some work returns, which uses the connection. Raises `LedgerError`.

        After a failure this fails at once for a while, so that many calls do not wait one after
        the other for a server that is away, nor beats behind them.
        """
        if elapsed() < self._quiet_until:
            raise LedgerAwayError(f"the ledger ({self._place}) has just failed to answer")
        try:
            connection = self._joined()
            with connection.naming_errors():
                return work(connection)
        except LedgerError:
            self._quiet_until = elapsed() + _QUIET
            raise

    def end(self, lock: int, backend: Backend) -> None:
        """End exactly the backend that has a lock of the fleet's. Raises `LedgerError`."""
        connection = self._joined()
        with connection.naming_errors():
            end_holder(connection, lock, backend)

    def move(self, address: str | None) -> None:
        """State another address. Raises `LedgerError`, also if that is stated only later."""
        self.entry = replace(self.entry, address=address)
        connection = self._joined()
        with connection.naming_errors():
            connection.execute(
                "UPDATE cores SET address = %s WHERE name = %s", address, self.entry.name
            )

    def close(self) -> None:
        """Leave: others see that this program has ended."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _beat(self, connection: LedgerConnection, *, is_durable: bool, off: float) -> None:
        if is_durable != self._is_durable:
            commit = self._durable if is_durable else "off"
            connection.execute("SELECT set_config('synchronous_commit', %s, false)", commit)
            self._is_durable = is_durable
        mine = self.entry.name, *connection.backend
        if connection.execute(_BEAT, off, *mine).rowcount != 1:
            raise self._forgotten(connection)

    def _forgotten(self, connection: LedgerConnection) -> LedgerAwayError:
        """Return the error after which this program joins again, as when a backup was restored."""
        self.close()
        return LedgerAwayError(str(connection.error("has lost this core's entry")))

    def _joined(self) -> LedgerConnection:
        if self._connection is not None and self._connection.is_lost:
            self.close()
        if self._connection is None:
            application = f"sessiongate {self.entry.kind} {self.entry.name} {os.getpid()}"
            connection = LedgerConnection(self._place, application[:63])
            self._mine.add(connection.backend)
            try:
                with connection.naming_errors():
                    self._join(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._mine = connection, {connection.backend}
        return self._connection

    def _join(self, connection: LedgerConnection) -> None:
        require_tables(connection)
        # A beat says nothing that must outlive the server, and does not wait for standbys.
        ((self._durable,),) = connection.execute("SELECT current_setting('synchronous_commit')")
        connection.execute("SET synchronous_commit = off")
        self._is_durable = False
        entry, shard = self.entry, None
        if entry.shard is not None:
            shard = shard_number(connection, entry.shard)
            refuse_sources_of_others(connection, shard, entry.places.keys())
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", *MAKING)
            connection.execute(_ADD, entry.name, entry.kind)
        self._take_name(connection)
        connection.execute(
            _DESCRIBE,
            *(entry.kind, shard, entry.address, socket.gethostname(), version("sessiongate")),
            *(self._started, *connection.backend, Jsonb(dict(entry.places)), *self._observed),
            entry.name,
        )

    def _take_name(self, connection: LedgerConnection) -> None:
        """Lock the name. Raises `LedgerHeldError` if another program that runs has it.

        The server may not know yet that the other one's machine is gone: while that does not
        beat, `LedgerAwayError` is raised at first.
        """
        question = "SELECT number, beat, address, host FROM cores WHERE name = %s"
        number, beat, address, host = connection.row(question, self.entry.name)
        holder = obtain_lock(connection, NAMES + number, self._mine)
        if holder is None:
            self._held = None
            return
        where = f"{address} on {host}" if address else host
        error = connection.error(
            f"has a core named {self.entry.name} already: {holder}, at {where or 'unknown places'};"
            " give each core a --name of its own"
        )
        if self._held is None or self._held[1] != holder.backend:
            self._held = elapsed(), holder.backend, beat
        since, _, first = self._held
        if beat != first or elapsed() - since > _HELD:
            raise LedgerHeldError(str(error))
        raise LedgerAwayError(str(error))
