"""Numbers of the starts of cores and fronts, the upper bits of their revisions."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql.connection import LedgerConnection, ServerIdentity
from sessiongate.core.ledger.postgresql.schema import TABLES_FILE

INSTANCE_BITS = 40  # revisions of one start of a core: more than it will ever use
LOST_STARTS = 1 << 11  # more than a ledger may have forgotten that was restored from a backup
SPREAD = 1 << 12  # numbers among which the next one is then drawn
LOST_BESIDE = 1 << 6  # more than it may have forgotten while one core was active without a break
# In one statement: whoever hangs after it was sent keeps no lock that a take-over waits for.
_TAKE = f"""
WITH known AS (
    SELECT (system_identifier, timeline, started) = (%s, %s, %s)
        AND tables = {TABLES_FILE} AS is_same FROM engine FOR UPDATE
)
UPDATE counters c
SET value = greatest(c.value + CASE WHEN k.is_same THEN 0 ELSE %s END, %s) + 1
FROM known k WHERE c.name = 'instance' RETURNING c.value
"""  # noqa: S608 - our own text
_NUMBERS = """
SELECT c.value, (SELECT coalesce(max(a.instance), 0) FROM actives a
    JOIN shards s ON s.number = a.shard WHERE s.name = %s)
FROM counters c WHERE c.name = 'instance'
"""


@dataclass(frozen=True, slots=True)
class ReservedStart:
    """A start that is still to come, of a core that stands by."""

    instance: int
    server: ServerIdentity  # that has given the number

    @property
    def revision(self) -> int:
        """The number above which its revisions are."""
        return self.instance << INSTANCE_BITS

    def is_reserved(self, revision: int) -> bool:
        """Return whether this start may use a revision."""
        return revision < (self.instance + 1) << INSTANCE_BITS

    def require(self, revision: int) -> None:
        """Raise `LedgerError` if this start may not use a revision."""
        if not self.is_reserved(revision):
            raise LedgerError(f"the ledger has no revision {revision} for this core")

    def is_next(self, connection: LedgerConnection, shard: str) -> bool:
        """Return whether it can be the next start of a core that is active for a shard.

        The server must be the one that has given the number, and still know it; and no core of
        the shard may have been active with a later one, for revisions only grow. Raises
        psycopg's errors.
        """
        if self.server != connection.server:
            return False
        ((last, active),) = connection.execute(_NUMBERS, shard)
        return bool(active < self.instance <= last)


def lost_starts() -> int:
    """Return how many numbers are left out where a server may have forgotten some.

    It is drawn, because another server that has forgotten as much, such as one that is promoted
    soon after, goes on from the same number.
    """
    return LOST_STARTS + secrets.randbelow(SPREAD)


def reserve_start(connection: LedgerConnection) -> ReservedStart:
    """Take a number that no other start has, or will have while the server runs."""
    server = connection.server
    least = time.time_ns() // 1000 >> INSTANCE_BITS  # of a ledger whose revisions were times
    ((instance,),) = connection.execute(
        _TAKE, *(server.system, server.timeline, server.started, lost_starts(), least)
    )
    return ReservedStart(int(instance), server)


def is_where_it_was(connection: LedgerConnection) -> bool:
    """Return whether the server is the one that the ledger was last on, and has not restarted.

    In a transaction: until its end, nobody else gets a number of its own.
    """
    ((*known, tables_are_same),) = connection.execute(
        f"SELECT system_identifier, timeline, started, tables = {TABLES_FILE}"  # noqa: S608
        " FROM engine FOR UPDATE"
    )
    return bool(tables_are_same and connection.server == ServerIdentity(*known))
