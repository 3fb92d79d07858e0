"""The keys of a table's sessions in one order, kept by each change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from core.query import Key

# Keys that are added or removed one by one; of more, what lies between is copied once.
_FEW = 32


@dataclass(slots=True)
class Order:
    """The keys of all sessions in one order.

    Invariant: ``keys`` is sorted, and no key is there twice.
    """

    keys: list[Key] = field(default_factory=list)

    def add(self, added: Sequence[Key]) -> None:
        """Add keys that are not there, in any order."""
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
        """Remove keys that are there, in any order."""
        if len(removed) <= _FEW:
            for key in removed:
                del self.keys[bisect_left(self.keys, key)]
            return
        kept: list[Key] = []
        start = 0
        for key in sorted(removed):
            if self.keys[start] != key:
                index = bisect_left(self.keys, key, start)
                kept += self.keys[start:index]
                start = index
            start += 1
        self.keys = kept + self.keys[start:]

    def keep(self, idents: Container[int]) -> None:
        """Remove the keys of all sessions but these: cheaper than `remove` of many."""
        self.keys = [key for key in self.keys if key[1] in idents]
