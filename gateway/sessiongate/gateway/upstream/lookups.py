"""Lookups in a store: built when first needed, and then kept up to date by each change."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain

from sessiongate.gateway.representation.row import FIELDS, SessionRow
from sessiongate.gateway.upstream.indexes import AttributeIndexes
from sessiongate.gateway.upstream.tallies import ServiceTallies
from sessiongate.runtime.memory import untrack
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps

_AT_ONCE = 250  # rows between two rests: one or two milliseconds of work
_LIST = 25  # a list and its key take the memory of this many rows in it
_MOST_KEPT = 300_000  # rows in lists, and as many as these take: two or three megabytes


class Lookups:
    """The indexes and tallies of a store's sessions with ids up to one that rises.

    Many workers are never asked for either, and a first copy takes half as long without.
    """

    def __init__(self) -> None:
        self.indexes = AttributeIndexes()
        self.tallies = ServiceTallies()
        self._few = FewRows()
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

    def few(
        self, field: str, value: Hashable, get: Callable[[int], SessionRow | None]
    ) -> Sequence[SessionRow] | None:
        """Return the sessions with a value, in the order of their ids; None if there are many.

        ``get`` returns a session by its id.
        """
        number = FIELDS.index(field)
        kept = self._few.get(number, value)
        if kept is None:
            ids = self.indexes.ids(number, value)
            if isinstance(ids, SortedSequence):
                return None
            kept = [row for ident in ids if (row := get(ident)) is not None]
            self._few.keep(number, kept)
        return kept

    def let_go(self) -> Steps[None]:
        """Forget all sessions, in steps."""
        self._few = FewRows()
        yield from self.indexes.let_go()

    def _change(self, removed: Sequence[SessionRow], added: Sequence[SessionRow]) -> None:
        self.indexes.change(removed, added)
        self.tallies.change(removed, added)
        self._few.forget(chain(removed, added))


class FewRows:
    """The sessions with each value that was asked for, until one of them changes.

    To look them up by their ids takes longer, the more sessions there are: memory is slow.
    """

    def __init__(self) -> None:
        self._kept: Sequence[dict[Hashable, list[SessionRow]]] = [{} for _ in FIELDS]
        self._size = 0

    def get(self, number: int, value: Hashable) -> list[SessionRow] | None:
        """Return the sessions with a value in the field with this number, if they are kept."""
        return self._kept[number].get(value)

    def keep(self, number: int, rows: list[SessionRow]) -> None:
        """Keep all sessions with the same value; without the others, if those are too many."""
        if not rows:
            return  # any number of values may be asked for that no session has
        untrack(rows)
        self._size += len(rows) + _LIST
        if self._size > _MOST_KEPT:
            self._size = len(rows) + _LIST
            for kept in self._kept:
                kept.clear()
        # Not by the value that was asked for, which may be a copy.
        self._kept[number][rows[0].values[number]] = rows

    def forget(self, changed: Iterable[SessionRow]) -> None:
        """Forget the sessions that have a value of one that has changed."""
        if not self._size:
            return
        for row in changed:
            for kept, value in zip(self._kept, row.values, strict=False):
                if value in kept:
                    self._size -= len(kept.pop(value)) + _LIST
