"""Which shard has which source: a source's sessions are written by one shard's active core only."""

from __future__ import annotations

from collections.abc import Collection

from sessiongate.core.ledger.lock import LedgerRefusalError
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import storable_value
from sessiongate.core.ledger.postgresql.schema import DEFAULT_NUMBER

_FREE = """
DELETE FROM shard_sources AS s WHERE shard = %s AND name <> ALL(%s::text[])
AND NOT EXISTS (SELECT FROM open_sessions WHERE source = s.name)
"""
_TAKE = """
INSERT INTO shard_sources SELECT name, %s FROM unnest(%s::text[]) AS name
WHERE %s OR NOT EXISTS (SELECT FROM open_sessions WHERE source = name)
ON CONFLICT (name) DO NOTHING
"""
# What no shard is known of belongs to `default` as soon as it has sessions.
_OF_OTHERS = f"""
SELECT asked.name, h.name FROM unnest(%s::text[]) AS asked (name)
LEFT JOIN shard_sources s ON s.name = asked.name
JOIN shards h ON h.number = coalesce(s.shard, {DEFAULT_NUMBER})
WHERE h.number <> %s AND (s.shard IS NOT NULL
    OR EXISTS (SELECT FROM open_sessions WHERE source = asked.name))
ORDER BY asked.name
"""  # noqa: S608 - our own number


def own_sources(connection: LedgerConnection, shard: int, sources: Collection[str]) -> None:
    """Note that a shard has these sources, in a transaction that has begun.

    Others that it had are free from then on, unless they still have open sessions. Raises
    `LedgerError` if another shard has one.
    """
    names = [storable_value(name) for name in sorted(sources)]
    connection.execute(_FREE, shard, names)
    connection.execute(_TAKE, shard, names, shard == DEFAULT_NUMBER)
    refuse_sources_of_others(connection, shard, sources)


def refuse_sources_of_others(
    connection: LedgerConnection, shard: int, sources: Collection[str]
) -> None:
    """Raise `LedgerError` if another shard has one of the sources."""
    names = [storable_value(name) for name in sorted(sources)]
    found = connection.execute(_OF_OTHERS, names, shard).fetchone()
    if found is not None:
        name, other = found
        text = (
            f"has the source {name!r} in the shard {other!r}: choose another name for it, or remove"
            " it from the cores of that shard and restart them first"
        )
        raise LedgerRefusalError(str(connection.error(text)))


def shards_of(connection: LedgerConnection, sources: Collection[str]) -> set[str]:
    """Return the names of the shards that have some of the sources, as far as is known."""
    names = [storable_value(name) for name in sources]
    found = connection.execute(
        "SELECT DISTINCT h.name FROM shard_sources s JOIN shards h ON h.number = s.shard"
        " WHERE s.name = ANY(%s::text[])",
        names,
    )
    return {name for (name,) in found}
