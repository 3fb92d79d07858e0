"""The keys of a table's sessions in one order, kept by each change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass, field

from core.query import Key
from sessiongate.v1.session_pb2 import Session

# Keys that are added or removed one by one: for more, the whole order is passed over.
_FEW = 32


@dataclass(slots=True)
class Order:
    """The keys of all sessions in one order.

    Invariant: ``keys`` is sorted, and holds exactly ``key_of`` each session.
    """

    key_of: Callable[[Session], Key]
    keys: list[Key] = field(default_factory=list)

    def add(self, keys: list[Key]) -> None:
        if len(keys) <= _FEW:
            for key in keys:
                insort(self.keys, key)
        else:
            self.keys += sorted(keys)
            self.keys.sort()  # two sorted runs: linear, and nothing if new keys follow old ones

    def remove(self, keys: set[Key]) -> None:
        if len(keys) <= _FEW:
            for key in keys:
                del self.keys[bisect_left(self.keys, key)]
        else:
            self.keys = [key for key in self.keys if key not in keys]
