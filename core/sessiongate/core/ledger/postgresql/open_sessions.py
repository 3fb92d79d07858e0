"""Reads which sessions are open: the place (`core.place`) of each, by source and key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import stated, storable
from sessiongate.core.ledger.postgresql.schema import DEFAULT_NUMBER
from sessiongate.core.place import place_of

_HELD = f"""
SELECT source, key, id, connect_time FROM open_sessions o
LEFT JOIN shard_sources s ON s.name = o.source WHERE coalesce(s.shard, {DEFAULT_NUMBER}) = %s
"""  # noqa: S608 - our own number
_WITH_KEYS = "SELECT key, id, connect_time FROM open_sessions WHERE source = %s AND key = ANY(%s)"
_READ_AT_ONCE = 1000  # rows, which takes about a millisecond


def read_held(connection: LedgerConnection, shard: int) -> defaultdict[str, dict[str, int]]:
    """Return the places of a shard's open sessions by source and key."""
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    with connection.naming_errors(), connection.transaction():
        for part in connection.stream(_HELD, shard, size=_READ_AT_ONCE):
            for source, key, ident, time in part:
                found[source][stated(key)] = place_of(time, ident)
    return found


def read_places(connection: LedgerConnection, source: str, keys: Sequence[str]) -> dict[str, int]:
    """Return the places of a source's open sessions with these keys, by key."""
    found = connection.execute(_WITH_KEYS, storable(source), [*map(storable, keys)])
    return {stated(key): place_of(time, ident) for key, ident, time in found}
