"""Which core is reading which source for the first time, and which sources ended their cores.

A core notes a source before it reads it for the first time, and takes the note back when it has.
A note whose core no longer runs shows that it ended meanwhile. Several that are found together
count as one: cores of one machine end together, whatever they read. Ends count only if others
follow within hours: a source that is down for weeks is being tried whenever a core is killed.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import storable_value
from sessiongate.core.ledger.postgresql.locks import HELD_LOCKS, NAMES

SUSPECTED = 2  # ends of cores from which on a source is read apart from the others
LEFT_OUT = 3  # from which on it is also left out for a while
_FIRST, _LONGEST = 60.0, 3600.0  # seconds for which it is; the first doubles with each more

# A source that ends its cores is tried again within an hour, and ends the next one.
_RECENT = "last_end > clock_timestamp() - interval '6 hours'"

_RUNNING = f"""
SELECT FROM cores c JOIN ({HELD_LOCKS}) held ON held.lock = c.number + {NAMES}
WHERE c.name = r.core AND c.started = r.started
"""
# Each is one statement: with many sources, each way to the server and back counts.
_LOOK = f"""
WITH ended AS (
    DELETE FROM first_reads r WHERE source = %s AND NOT EXISTS ({_RUNNING}) RETURNING r.source
), counted AS (
    INSERT INTO suspects AS s SELECT source, 1, clock_timestamp() FROM ended GROUP BY source
    ON CONFLICT (source) DO UPDATE SET last_end = excluded.last_end,
        ends = excluded.ends + CASE WHEN s.{_RECENT} THEN s.ends ELSE 0 END
    RETURNING ends, last_end
)
SELECT ends, extract(epoch FROM clock_timestamp() - last_end) FROM (
    TABLE counted
    UNION ALL
    SELECT ends, last_end FROM suspects
    WHERE source = %s AND {_RECENT} AND NOT EXISTS (TABLE counted)
) AS known
"""  # noqa: S608 - our own text
_END = """
WITH noted AS (DELETE FROM first_reads WHERE (source, core) = (%s, %s))
DELETE FROM suspects WHERE source = %s AND %s
"""
_NOTE = """
INSERT INTO first_reads VALUES (%s, %s, %s)
ON CONFLICT (source, core) DO UPDATE SET started = excluded.started
"""


class SourceReader(NamedTuple):
    """A program that reads sources."""

    core: str
    started: datetime  # another one at each start of a core


class Verdict(NamedTuple):
    """Whether a source may be read, which is noted then."""

    may_read: bool
    ends: int = 0  # cores in a row that ended while they read it for the first time
    left_out_for: float = 0.0  # seconds


def begin_first_read(
    connection: LedgerConnection, source: str, reader: SourceReader, *, alone: bool
) -> Verdict:
    """Note that a source is about to be read for the first time, if it may be.

    One that is suspected may only be read ``alone``.
    """
    name = storable_value(source)
    found = connection.execute(_LOOK, name, name).fetchone()
    ends, ago = (0, 0.0) if found is None else (int(found[0]), float(found[1]))
    if ends >= LEFT_OUT:
        # The clock may have been set back since.
        left = min(_LONGEST, _FIRST * 2 ** min(ends - LEFT_OUT, 10)) - max(0.0, ago)
        if left > 0:
            return Verdict(False, ends, left)
    if ends >= SUSPECTED and not alone:
        return Verdict(False, ends)
    connection.execute(_NOTE, name, *reader)
    return Verdict(True, ends)


def end_first_read(
    connection: LedgerConnection, source: str, reader: SourceReader, *, is_read: bool
) -> None:
    """Take the note back. A source that ``is_read`` is suspected no longer."""
    name = storable_value(source)
    connection.execute(_END, name, reader.core, name, is_read)


def end_first_reads(connection: LedgerConnection, reader: SourceReader) -> None:
    """Take all notes of a core back, which stops reading."""
    connection.execute("DELETE FROM first_reads WHERE (core, started) = (%s, %s)", *reader)
