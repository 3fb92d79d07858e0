"""What is looked up in a store: built when it is first needed, and then kept by each change."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.indexes import AttributeIndexes
from sessiongate.gateway.upstream.tallies import ServiceTallies
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps

_AT_ONCE = 250  # rows between two rests: one or two milliseconds of work


class Lookups:
    """The indexes and tallies of a store's sessions with ids up to one that rises.

    Many workers are never asked for either, and a first copy takes half as long without.
    """

    def __init__(self) -> None:
        self.indexes = AttributeIndexes()
        self.tallies = ServiceTallies()
        self._reached: float = 0  # infinity: all sessions are in

    @property
    def is_whole(self) -> bool:
        """Whether all sessions are in."""
        return self._reached == math.inf

    def fill(self, rows: SortedSequence[SessionRow]) -> Steps[None]:
        """Take over all rows of the store, in steps; it may change between two of them."""
        while not self.is_whole:
            start = rows.rank(self._reached + 1)
            part = rows[start : start + _AT_ONCE]
            self._change((), part)
            self._reached = part[-1].id if len(part) == _AT_ONCE else math.inf
            yield

    def change(self, removed: Sequence[SessionRow], added: Sequence[SessionRow]) -> None:
        """Forget rows, and take others, as far as `fill` has come."""
        reached = self._reached
        if reached == math.inf:
            self._change(removed, added)
        elif reached:
            self._change(
                [row for row in removed if row.id <= reached],
                [row for row in added if row.id <= reached],
            )

    def _change(self, removed: Sequence[SessionRow], added: Sequence[SessionRow]) -> None:
        self.indexes.change(removed, added)
        self.tallies.change(removed, added)
