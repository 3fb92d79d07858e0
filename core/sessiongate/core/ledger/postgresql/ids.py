"""Reserves ids of sessions, which all cores take from one counter."""

from __future__ import annotations

from sessiongate.core.ledger.postgresql.connection import LedgerConnection

# Ids are reserved for this many times as many sessions as have come, as far as these bounds allow:
# to reserve some costs a commit, and those that are not given when a core is killed are lost.
_TIMES = 20
_LEAST_IDS, _MOST_IDS = 1000, 20_000
# Cores that stand by may have been active while this one was not heard.
_HAS_OTHERS = (
    "(EXISTS (SELECT FROM shards WHERE number <> %s AND claim > 0)"
    " OR EXISTS (SELECT FROM cores WHERE kind = 'core' AND name <> %s))"
)
BLOCK = f"UPDATE counters SET value = value + %s WHERE name = 'id' RETURNING value, {_HAS_OTHERS}"  # noqa: S608
COUNTERS = (
    "SELECT (SELECT value FROM counters WHERE name = 'id'),"  # noqa: S608 - our own text
    f" (SELECT value FROM counters WHERE name = 'instance'), {_HAS_OTHERS}"
)
JUMP = (
    "UPDATE counters SET value = greatest(value, %s, %s,"
    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    " WHERE name = 'id' RETURNING value"
)


def reserve_ids(
    connection: LedgerConnection, shard: int, core: str, number: int
) -> tuple[range, bool]:
    """Return as many ids as asked for, or more, and whether other cores may reserve some, too."""
    size = max(number, _LEAST_IDS, min(_TIMES * number, _MOST_IDS))
    ((last, has_others),) = connection.execute(BLOCK, size, shard, core)
    return range(last - size + 1, last + 1), has_others


def read_counters(connection: LedgerConnection, shard: int, core: str) -> tuple[int, int, bool]:
    """Return the last id and the last instance, and whether other cores may take ids, too."""
    ((last, instance, has_others),) = connection.execute(COUNTERS, shard, core)
    return last, instance, has_others


def jump_ids(connection: LedgerConnection, least: int, now: int) -> int:
    """Go on at the time, by whichever clock is later, or above an id; return the last id.

    ``now`` is this machine's time, in ns since the epoch.
    """
    ((last,),) = connection.execute(JUMP, least, now // 1000)
    return int(last)
