"""Counts of the activities of each source's sessions, kept up to date by each change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from sessiongate.core.place import place_of, time_of
from sessiongate.core.table.row import Row
from sessiongate.runtime.sorted_sequence import SortedSequence

_Places: TypeAlias = Mapping[str, list[int]]


class ActivityTally(NamedTuple):
    """Counts of the activities of one source's sessions."""

    states: Counter[int | None]  # sessions by the state of their activity; None: not known
    blocked: int  # sessions that others block
    oldest_wait: int | None  # when the first of them began to wait, in nanoseconds since the epoch
    oldest_transaction: int | None  # when it began, in the same


class ActivityTallies:
    """The tallies of all sources."""

    def __init__(self) -> None:
        self._states: defaultdict[str, Counter[int | None]] = defaultdict(Counter)
        self._blocked: Counter[str] = Counter()
        # The places of blocked sessions by when they began to wait, and of the sessions in a
        # transaction by its start.
        self._waits: defaultdict[str, SortedSequence[int]] = defaultdict(SortedSequence)
        self._transactions: defaultdict[str, SortedSequence[int]] = defaultdict(SortedSequence)

    def change(self, removed: Iterable[Row], added: Iterable[Row]) -> None:
        """Count no longer what was shown, and count what is."""
        left = self._count(removed, -1)
        come = self._count(added, 1)
        for kept, old, new in zip((self._waits, self._transactions), left, come, strict=True):
            for source in {*old, *new}:
                kept[source].change(new.get(source, ()), old.get(source, ()))

    def _count(self, rows: Iterable[Row], more: int) -> tuple[_Places, _Places]:
        """Count rows; return the places of their waits and transactions, by source."""
        waits: defaultdict[str, list[int]] = defaultdict(list)
        transactions: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            source, activity = row.group.values.source, row.group.values.activity
            self._states[source][activity] += more
            if row.is_blocked:
                self._blocked[source] += more
                if row.since is not None:
                    waits[source].append(place_of(row.since, row.id))
            if row.transaction is not None:
                transactions[source].append(place_of(row.transaction, row.id))
        return waits, transactions

    def __iter__(self) -> Iterator[tuple[str, ActivityTally]]:
        """Iterate over the sources that have sessions, by name, with their tallies."""
        for source, states in sorted(self._states.items()):
            present = +states
            if present:
                oldest = _oldest(self._waits, source), _oldest(self._transactions, source)
                yield source, ActivityTally(present, self._blocked[source], *oldest)


def _oldest(kept: Mapping[str, SortedSequence[int]], source: str) -> int | None:
    """Return the first of the times that are kept of a source, if there is one."""
    places = kept.get(source)
    return time_of(places[0]) if places else None
