"""The rows that one observation of a source writes to a ledger in PostgreSQL, and takes back.

An observation is written in steps, each a transaction of its own. One that has failed, or whose
outcome is not known, is undone: to undo what was not done changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from psycopg import pq

from sessiongate.core.ledger.past import (
    DESCRIBED,
    OPEN_SESSION,
    PAST,
    UNDESCRIBED,
    Closing,
    Description,
    Opening,
    description_of,
    duration_class,
    ended,
    opening_description,
)
from sessiongate.core.ledger.postgresql.connection import LedgerConnection
from sessiongate.core.ledger.postgresql.copying import (
    copy_into,
    hexadecimal,
    lines_of,
    quoted_columns,
    stated_value,
    storable,
    storable_value,
)
from sessiongate.core.ledger.postgresql.script import Copy, texts_of
from sessiongate.core.ledger.rows import Changes

ROWS = 10_000  # that a step opens, and that it closes: a transaction is short
_AT_ONCE = 100  # rows that are sent: the server reads them while the next ones are made
_END, _START, _CLASS = map(PAST.index, ("end_time", "connect_time", "duration_class"))
_LINKS = _UP, _DOWN = PAST.index("upstream_ids"), PAST.index("downstream_ids")
_COPY_OPEN, _COPY_PAST = copy_into("open_sessions", OPEN_SESSION), copy_into("past_sessions", PAST)
_DESCRIBED = quoted_columns(DESCRIBED)
# The server, as it plans, would compare a mere array with what it knows of all ids, one by one.
_CLOSED = "(SELECT '{}'::bigint[])::bigint[]"
_DELETE = f"DELETE FROM open_sessions WHERE id = ANY({_CLOSED}) RETURNING id, key"  # noqa: S608
_DESCRIPTIONS = f"SELECT {_DESCRIBED}, id FROM open_sessions WHERE id = ANY(%s::bigint[])"  # noqa: S608
# One statement: two sessions may exchange their keys.
_REKEY = (
    "UPDATE open_sessions AS o SET key = u.key"
    " FROM unnest(%s::bigint[], %s::text[]) AS u (id, key) WHERE o.id = u.id"
)
_REMEMBER = "INSERT INTO {0} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET {1} = excluded.{1}"
_MARKS = ", ".join(["%s"] * len(OPEN_SESSION))
_OPEN_AGAIN = (
    f"INSERT INTO open_sessions ({quoted_columns(OPEN_SESSION)}) VALUES ({_MARKS})"  # noqa: S608
    " ON CONFLICT (id) DO NOTHING"
)


@dataclass
class WriteStep:
    """Sessions of one source that one transaction opens and closes.

    ``known`` is what the ledger had of the source before: its server's start and its place.
    """

    changes: Changes
    opened: Sequence[tuple[int, Opening]]  # with their ids
    closed: Sequence[Closing]
    now: int  # ns since the epoch
    last_end: int  # ns since the epoch: that there is a partition for
    least: int | None  # ns that a session must have lasted to be kept; None: none is
    known: tuple[float | None, str | None]
    rekeyed: Mapping[str, int]  # new keys of sessions, with their ids
    is_last: bool  # of its observation
    ends: list[tuple[int, Closing]] = field(init=False)  # what moves to the past ones
    _gone: pq.abc.PGresult | None = None  # ids and stored keys of what was closed
    _keys: dict[int, str] = field(default_factory=dict)  # former ones, by id
    # What described the closed sessions that were not seen since they opened, by id.
    _described: dict[int, Description] = field(default_factory=dict)

    def __post_init__(self) -> None:
        moment = self.now if self.changes.observed is None else self.changes.observed
        self.ends = []
        if self.least is not None:
            ends = ((each.end(moment), each) for each in self.closed)
            kept = (
                (min(end, self.last_end), each)
                for end, each in ends
                if end - each.connect_time >= self.least
            )
            self.ends = sorted(kept, key=lambda pair: (pair[0], pair[1].id))

    def write(self, connection: LedgerConnection) -> None:
        """Write everything, in a transaction that has begun."""
        if self.ends:
            self._describe(connection)
        if self.is_last:
            self._remember(connection, self.changes.incarnation, self.changes.place)
        closing, copies = list[str](), list[Copy]()
        if self.closed:
            closing.append(_DELETE.format(_array(each.id for each in self.closed)))
        if self.opened:
            copies.append(Copy(_COPY_OPEN, self._open_parts()))
        if self.ends:  # afterwards: it takes longer to make these rows, and the server is busy
            copies.append(Copy(_COPY_PAST, self._past_parts()))
        if self.rekeyed:
            done = connection.script(*closing)
            self._rekey(connection)
            connection.script(*copies)
        else:
            done = connection.script(*closing, *copies)
        self._gone = done[0] if self.closed else None

    def undo(self, connection: LedgerConnection) -> int:
        """Take back what was written, if it was; return how many past sessions were taken back."""
        connection.execute(
            "DELETE FROM open_sessions WHERE id = ANY(%s::bigint[])",
            _array(ident for ident, _ in self.opened),
        )
        taken = connection.execute(
            "DELETE FROM past_sessions AS p USING unnest(%s::bigint[], %s::bigint[]) AS u (e, i)"
            # The bounds are for the planner, which leaves the other partitions out.
            " WHERE p.end_time = u.e AND p.id = u.i AND p.end_time BETWEEN %s AND %s",
            _array(end for end, _ in self.ends),
            _array(each.id for _, each in self.ends),
            *((self.ends[0][0], self.ends[-1][0]) if self.ends else (0, 0)),
        ).rowcount
        if self._keys:  # first: a session that has ended may have one of these keys
            connection.execute(_REKEY, _array(self._keys), [*self._keys.values()])
        with connection.waiting() as raw:
            raw.cursor().executemany(_OPEN_AGAIN, [*self._again()])
        if self.is_last:
            incarnation, place = self.known
            source = self.changes.source
            self._remember(connection, incarnation, place)
            if self.changes.incarnation is not None and incarnation is None:
                connection.execute("DELETE FROM sources WHERE name = %s", source)
            if self.changes.place is not None and place is None:
                connection.execute("DELETE FROM places WHERE name = %s", source)
        return taken

    def _open_parts(self) -> Iterator[bytes]:
        source = self.changes.source
        for part in _parts(self.opened, _AT_ONCE):
            yield lines_of(
                [
                    (ident, source, each.key, each.connect_time, *opening_description(each, ident))
                    for ident, each in part
                ]
            )

    def _past_parts(self) -> Iterator[bytes]:
        for part in _parts(self.ends, _AT_ONCE):
            yield lines_of([self._past(*pair) for pair in part])

    def _describe(self, connection: LedgerConnection) -> None:
        """Read what described the sessions that were not seen since they opened."""
        unseen = [each.id for _, each in self.ends if each.seen is None]
        if unseen:
            for *description, ident in connection.execute(_DESCRIPTIONS, _array(unseen)):
                self._described[ident] = tuple(map(stated_value, description))

    def _past(self, end: int, each: Closing) -> tuple[Any, ...]:
        described = self._described.get(each.id, UNDESCRIBED)
        row = ended(each, self.changes.source, described, end)
        if row[_UP] or row[_DOWN] or end < each.connect_time:
            return adjusted([*row], end)
        return row

    def _again(self) -> Iterator[Sequence[Any]]:
        """Yield the rows of sessions to open again, as they were last seen."""
        gone = [] if self._gone is None else texts_of(self._gone)
        keys = {int(ident): key for ident, key in gone}
        for each in self.closed:
            key = keys.get(each.id)
            if key is not None:
                seen = each.session
                values = self._described.get(each.id) if seen is None else description_of(seen)
                described = map(storable_value, values or UNDESCRIBED)
                yield each.id, self.changes.source, key, each.connect_time, *described

    def _remember(
        self, connection: LedgerConnection, incarnation: float | None, place: str | None
    ) -> None:
        source = self.changes.source
        if self.changes.incarnation is not None and incarnation is not None:
            connection.execute(_REMEMBER.format("sources", "incarnation"), source, incarnation)
        if self.changes.place is not None and place is not None:
            connection.execute(_REMEMBER.format("places", "place"), source, place)

    def _rekey(self, connection: LedgerConnection) -> None:
        keys = self.rekeyed
        found = connection.execute(
            "SELECT id, key FROM open_sessions WHERE id = ANY(%s::bigint[])", _array(keys.values())
        )
        self._keys = dict(found.fetchall())
        connection.execute(_REKEY, _array(keys.values()), [storable(key) for key in keys])


def steps_of(
    changes: Changes,
    ids: Sequence[int],
    *,
    now: int,
    last_end: int,
    least: int | None,
    known: tuple[float | None, str | None],
) -> list[WriteStep]:
    """Return the steps that write an observation; what is closed comes before what is opened."""
    closings = _parts(changes.closed, ROWS)
    openings = _parts([*zip(ids, changes.opened, strict=True)], ROWS)
    if len(closings) > 1 or len(openings) > 1:  # a key that is free again is taken afterwards
        openings = [()] * len(closings) + openings
    pairs = [*zip_longest(openings, closings, fillvalue=())] or [((), ())]
    steps, rekeyed = [], changes.rekeyed
    for number, (opened, closed) in enumerate(pairs, 1):
        is_last = number == len(pairs)
        moved = rekeyed if opened or is_last else {}  # former keys are free for what opens
        rekeyed = {} if moved else rekeyed
        steps.append(
            WriteStep(changes, opened, closed, now, last_end, least, known, moved, is_last)
        )
    return steps


def _parts(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def adjusted(row: list[Any], last_end: int) -> tuple[Any, ...]:
    """Return a past session's row with its links as text, and its end and start no later."""
    for place in _LINKS:
        row[place] = hexadecimal(row[place])
    row[_END] = min(row[_END], last_end)
    row[_START] = min(row[_START], row[_END])
    row[_CLASS] = duration_class(row[_END] - row[_START])
    return tuple(row)


def _array(values: Iterator[int] | Sequence[int] | Any) -> str:
    """Return numbers as the text of an array."""
    return f"{{{','.join(map(str, values))}}}"
