"""The keys of a table's sessions in one order, updated by each change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from sessiongate.core.table.query import Key

# Keys to add, and runs of keys to remove, one at a time; if there are more, what lies between
# them is copied once.
_FEW = 32


@dataclass(slots=True)
class Order:
    """The keys of all sessions in one order.

    Invariant: ``keys`` is sorted and has no duplicates.
    """

    keys: list[Key] = field(default_factory=list)

    def add(self, added: Sequence[Key]) -> None:
        """Add new keys, in any order."""
        if len(added) <= _FEW:
            for key in added:
                insort(self.keys, key)
            return
        following = sorted(added)
        start = bisect_left(self.keys, following[0])
        if start == bisect_left(self.keys, following[-1]):  # no other key lies between them
            self.keys[start:start] = following
        else:
            tail = self.keys[start:] + following
            tail.sort()  # two sorted runs: linear
            self.keys[start:] = tail

    def remove(self, removed: Sequence[Key]) -> None:
        """Remove existing keys, in any order."""
        runs = self._runs(sorted(removed))
        if len(runs) <= _FEW:
            for run in reversed(runs):
                del self.keys[run.start : run.stop]
            return
        kept: list[Key] = []
        start = 0
        for run in runs:
            kept += self.keys[start : run.start]
            start = run.stop
        self.keys = kept + self.keys[start:]

    def keep(self, idents: Container[int]) -> None:
        """Remove the keys of all other sessions; cheaper than `remove` of many."""
        self.keys = [key for key in self.keys if key[1] in idents]

    def _runs(self, keys: Sequence[Key]) -> list[range]:
        """Return the positions of these keys, which must be sorted."""
        runs: list[range] = []
        start = stop = 0
        for key in keys:
            if stop < len(self.keys) and self.keys[stop] == key:
                stop += 1
                continue
            if start < stop:
                runs.append(range(start, stop))
            start = bisect_left(self.keys, key, stop)
            stop = start + 1
        if start < stop:
            runs.append(range(start, stop))
        return runs
