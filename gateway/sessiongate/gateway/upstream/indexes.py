"""Indexes of a store's sessions by what filters name, and the ids that these find."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence, Set
from heapq import merge
from itertools import chain
from operator import attrgetter, itemgetter

from sessiongate.gateway.representation.row import FIELDS, IndexedValues, SessionRow
from sessiongate.runtime.index import Index
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps

_VALUES = attrgetter("id", "values")


class AttributeIndexes:
    """The ids of sessions by each of their values."""

    def __init__(self) -> None:
        self._indexes = [Index() for _ in FIELDS]

    def change(self, removed: Sequence[SessionRow], added: Sequence[SessionRow]) -> None:
        """Forget rows, and take others; a session that has changed is in both."""
        if not removed:
            self._add(added)
            return
        before, after = dict(map(_VALUES, removed)), dict(map(_VALUES, added))
        changed = before.keys() & after.keys()
        for ident in [each for each in changed if before[each] == after[each]]:
            del before[ident], after[ident]
            changed.remove(ident)
        for number, index in enumerate(self._indexes):
            same = {each for each in changed if before[each][number] == after[each][number]}
            index.change(_column(number, before, same), _column(number, after, same))

    def let_go(self) -> Steps[None]:
        """Forget all sessions, in steps."""
        for index in self._indexes:
            yield from index.let_go()

    def _add(self, rows: Sequence[SessionRow]) -> None:
        ids = [row.id for row in rows]
        columns = zip(*[row.values for row in rows], strict=True)
        for index, column in zip(self._indexes, columns, strict=False):
            index.add(column, ids)

    def ids(self, number: int, value: Hashable) -> Sequence[int]:
        """Return the ids with a value in the field with this number, until the next change."""
        return self._indexes[number].ids(value)

    def find(self, wanted: Mapping[str, Collection[Hashable]]) -> FoundIds:
        """Return the ids that have one of the values wanted in the field that finds fewest."""
        found = [
            FoundIds([self.ids(FIELDS.index(field), value) for value in values])
            for field, values in wanted.items()
        ]
        return min(found, key=len).kept()


def _column(
    number: int, values: Mapping[int, IndexedValues], skipped: Set[int]
) -> Iterator[tuple[Hashable, int]]:
    """Return the values in one field, with the ids."""
    column = zip(map(itemgetter(number), values.values()), values, strict=True)
    return (pair for pair in column if pair[1] not in skipped) if skipped else column


class FoundIds:
    """Ids in ascending order, from sequences that have none in common."""

    def __init__(self, parts: Sequence[Sequence[int]]) -> None:
        self._parts = [part for part in parts if part]
        self._length = sum(map(len, self._parts))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return merge(*self._parts) if len(self._parts) > 1 else chain(*self._parts)

    def kept(self) -> FoundIds:
        """Return the same ids, which later changes of the indexes leave alone."""
        few = [part for part in self._parts if not isinstance(part, SortedSequence)]
        many = [part.snapshot() for part in self._parts if isinstance(part, SortedSequence)]
        return FoundIds([tuple(sorted(chain(*few))), *many])

    def after(self, ident: int, count: int) -> list[int]:
        """Return the ``count`` next higher ids."""
        found = [part[(start := _rank(part, ident + 1)) : start + count] for part in self._parts]
        return sorted(chain(*found))[:count]

    def before(self, ident: int, count: int) -> list[int]:
        """Return the ``count`` next lower ids."""
        found = [part[max(0, (stop := _rank(part, ident)) - count) : stop] for part in self._parts]
        return sorted(chain(*found))[-count:]

    def at(self, start: int, count: int) -> Steps[list[int]]:
        """Return ``count`` ids from the position ``start``."""
        if start >= self._length:
            return []
        if len(self._parts) == 1:
            return [*self._parts[0][start : start + count]]
        low, high = 0, max(part[-1] for part in self._parts)
        while low < high:  # for the highest id that has no more than ``start`` below it
            yield
            middle = (low + high + 1) // 2
            if sum(_rank(part, middle) for part in self._parts) <= start:
                low = middle
            else:
                high = middle - 1
        return self.after(low - 1, count)


def _rank(ids: Sequence[int], ident: int) -> int:
    """Return how many ids are lower than one."""
    return ids.rank(ident) if isinstance(ids, SortedSequence) else bisect_left(ids, ident)
