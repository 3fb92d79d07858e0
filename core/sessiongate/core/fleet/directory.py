"""The members of a fleet, as its ledger has them: shards, their active cores, stand-bys.

What the server itself sees decides who runs and who is active: the locks that connections hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sessiongate.core.ledger.postgresql.connection import Backend, LedgerConnection
from sessiongate.core.ledger.postgresql.locks import HELD_LOCKS, NAMES

_SHARDS = f"""
WITH held AS ({HELD_LOCKS})
SELECT s.name, s.number,
    ARRAY(SELECT o.name FROM shard_sources o WHERE o.shard = s.number ORDER BY o.name),
    held.pid, held.backend_start, held.application_name,
    a.core, a.claim, a.instance, a.since, c.address, b.beat, f.core
FROM shards s LEFT JOIN held ON held.lock = s.number
LEFT JOIN actives a ON a.shard = s.number AND a.claim = s.claim
    AND (held.pid, held.backend_start) = (s.pid, s.backend_start)
LEFT JOIN cores c ON c.name = a.core
LEFT JOIN cores b ON (b.pen_pid, b.pen_start) = (held.pid, held.backend_start)
LEFT JOIN actives f ON f.shard = s.number
ORDER BY s.name
"""  # noqa: S608 - our own text
_MEMBERS = f"""
WITH held AS ({HELD_LOCKS})
SELECT c.name, c.kind, s.name, c.address, c.host, c.version, c.started, held.pid IS NOT NULL,
    c.beat, c.observed, c.unreadable, c.clock_off
FROM cores c LEFT JOIN shards s ON s.number = c.shard
LEFT JOIN held ON held.lock = c.number + {NAMES}
ORDER BY c.name
"""  # noqa: S608 - our own text

_COUNTER = """
SELECT value, extract(epoch FROM clock_timestamp())::float8 FROM counters WHERE name = 'id'
"""


@dataclass(frozen=True, slots=True)
class ActiveCore:
    """The core that may write what is in a shard.

    The ledger does not tell all of one of an earlier release, nor of one that has just got the
    lock: ``name`` is then what the server shows its connection as, and ``claim`` is 0.
    """

    name: str
    backend: Backend  # of its pen
    claim: int = 0
    instance: int = 0  # the upper bits of its revisions
    since: datetime | None = None
    address: str | None = None
    beat: int | None = None  # of the core that states this backend as its pen

    @property
    def shown(self) -> str:
        """Its name, and its address if it is known."""
        return f"{self.name} at {self.address}" if self.address else self.name


@dataclass(frozen=True, slots=True)
class FleetShard:
    """A set of sources, and who has it."""

    name: str
    number: int
    sources: tuple[str, ...]  # the names of what its cores read
    active: ActiveCore | None
    former: str | None = None  # the core that was active last, as far as it stated its name


@dataclass(frozen=True, slots=True)
class FleetMember:
    """A core or a front, as it describes itself; it may have ended."""

    name: str
    kind: str  # "core" or "front"
    shard: str | None  # a front has none
    address: str | None  # where it can be called, if it is known
    host: str
    version: str
    started: datetime
    is_running: bool  # it has the lock on its name
    beat: int  # which it counts up while it runs
    observed: datetime | None = None  # when it last read its sources while it stood by
    unreadable: Sequence[str] | None = None  # sources that it could not read then
    clock_off: float | None = None  # seconds, as of its last beat (`core.fleet.clock`)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The fleet at a moment."""

    shards: tuple[FleetShard, ...]
    members: tuple[FleetMember, ...]
    last_id: int = 0  # no id above it was given in this ledger
    time: float | None = None  # by the server's clock, in seconds since the epoch

    @property
    def used_shards(self) -> list[FleetShard]:
        """The shards that have sources or cores; the default one may have neither."""
        named = {member.shard for member in self.members}
        return [each for each in self.shards if each.active or each.sources or each.name in named]

    def shard(self, name: str) -> FleetShard | None:
        """Return a shard by its name."""
        return next((each for each in self.shards if each.name == name), None)

    def has_other_cores(self, name: str) -> bool:
        """Return whether a core is known, of any shard, that runs or not, besides one."""
        return any(each.kind == "core" and each.name != name for each in self.members)

    def standing_by(self, shard: FleetShard) -> list[FleetMember]:
        """Return the cores that run and would take a shard over."""
        active = shard.active.name if shard.active and shard.active.claim else None
        return [
            each
            for each in self.members
            if each.is_running and each.shard == shard.name and each.name != active
        ]

    def ready_standbys(self, shard: FleetShard) -> set[str]:
        """Return the names of those that could read all sources when they last did."""
        found = self.standing_by(shard)
        return {each.name for each in found if each.observed is not None and not each.unreadable}

    def can_hand_over(self, shard: FleetShard, name: str) -> bool:
        """Return whether another core than one stands by and has read its sources, or none does.

        In a restored ledger, the one that is active may look like one that stands by.
        """
        found = [each for each in self.standing_by(shard) if each.name != name]
        return not found or any(each.observed is not None for each in found)


def read_fleet(connection: LedgerConnection) -> Fleet:
    """Read who is in the fleet. Raises psycopg's errors."""
    return Fleet(
        tuple(
            FleetShard(name, number, (*sources,), _active(*active), former)
            for name, number, sources, *active, former in connection.execute(_SHARDS)
        ),
        tuple(FleetMember(*row) for row in connection.execute(_MEMBERS)),
        *connection.execute(_COUNTER).fetchone() or (0, None),
    )


def _active(
    pid: int | None,
    begun: datetime | None,
    application: str,
    core: str | None,
    claim: int,
    instance: int,
    since: datetime,
    address: str | None,
    beat: int | None,
) -> ActiveCore | None:
    if pid is None or begun is None:
        return None
    backend = Backend(pid, begun)
    if core is None:
        return ActiveCore(application or "a program", backend, beat=beat)
    return ActiveCore(core, backend, claim, instance, since, address, beat)
