"""What the sessions of each source are doing, counted by each change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sessiongate.core.place import place_of, time_of
from sessiongate.core.table.row import Row
from sessiongate.runtime.sorted_sequence import SortedSequence


class ActivityTally(NamedTuple):
    """What the sessions of one source are doing."""

    states: Counter[int | None]  # sessions by the state of their activity; None: not known
    blocked: int  # sessions that others block
    oldest_transaction: int | None  # when it began, in nanoseconds since the epoch


class ActivityTallies:
    """The tallies of all sources."""

    def __init__(self) -> None:
        self._states: defaultdict[str, Counter[int | None]] = defaultdict(Counter)
        self._blocked: Counter[str] = Counter()
        # The places of the sessions in a transaction, by its start.
        self._transactions: defaultdict[str, SortedSequence[int]] = defaultdict(SortedSequence)

    def change(self, removed: Iterable[Row], added: Iterable[Row]) -> None:
        """Count no longer what was shown, and count what is."""
        left = self._count(removed, -1)
        come = self._count(added, 1)
        for source in {*left, *come}:
            self._transactions[source].change(come.get(source, ()), left.get(source, ()))

    def _count(self, rows: Iterable[Row], more: int) -> dict[str, list[int]]:
        """Count rows; return the places of their transactions, by source."""
        transactions: defaultdict[str, list[int]] = defaultdict(list)
        for row in rows:
            source, activity = row.group.values.source, row.group.values.activity
            self._states[source][activity] += more
            if row.is_blocked:
                self._blocked[source] += more
            if row.transaction is not None:
                transactions[source].append(place_of(row.transaction, row.id))
        return transactions

    def __iter__(self) -> Iterator[tuple[str, ActivityTally]]:
        """Iterate over the sources that have sessions, by name, with their tallies."""
        for source, states in sorted(self._states.items()):
            present = +states
            if present:
                began = self._transactions.get(source)
                oldest = time_of(began[0]) if began else None
                yield source, ActivityTally(present, self._blocked[source], oldest)
