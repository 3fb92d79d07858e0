"""Index: the ids of sessions by one of their values, kept by each change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

from sessiongate.runtime.memory import unsearched, untrack
from sessiongate.runtime.sorted_sequence import SortedSequence, put
from sessiongate.runtime.turns import Steps, let_go

# Most values have few sessions, and a value of its own is what many sessions have: one id
# is kept as it is, and some as a list.
_FEW = 512
_Ids: TypeAlias = int | list[int] | SortedSequence[int]


class Index:
    """Ids by value. A session has one value, or None, which is not indexed."""

    def __init__(self) -> None:
        self._ids: dict[Hashable, _Ids] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Hashable]:
        """Iterate over the values that sessions have."""
        return iter(self._ids)

    def ids(self, value: Hashable) -> Sequence[int]:
        """Return the ids of the sessions with a value, ascending; valid until the next change."""
        found = self._ids.get(value, ())
        return (found,) if isinstance(found, int) else found

    @unsearched()
    def change(
        self,
        removed: Iterable[tuple[Hashable, int]],
        added: Iterable[tuple[Hashable, int]],
    ) -> tuple[set[Hashable], set[Hashable]]:
        """Remove ids from the values that they had, and then add ids to values.

        Return the values that have come, and those that have gone, with that.
        """
        come: set[Hashable] = set()
        gone: set[Hashable] = set()
        less, more = _by_value(removed), _by_value(added)
        # SortedSequence comes last: whether something is one takes long to find out.
        for value, out in less.items():
            ids = self._ids.get(value)
            if ids is None:
                continue
            if isinstance(ids, int | list):
                self._remove_few(value, ids, out)
            else:
                self._change_many(value, ids, out, more.pop(value, ()))
            if value not in self._ids:
                gone.add(value)
        for value, new in more.items():
            ids = self._ids.get(value)
            if ids is not None:
                self._add(value, ids, new)
                continue
            (gone.remove if value in gone else come.add)(value)
            if len(new) == 1:  # the usual one: most addresses have one session
                self._ids[value] = new[0]
            else:
                self._keep(value, sorted(new))
        untrack(self._ids)
        return come, gone

    @unsearched()
    def add(self, values: Sequence[Hashable], ids: Sequence[int]) -> None:
        """Add ids, each to the value in its place; a value that no other one has costs least."""
        own: dict[Hashable, int] = dict(zip(values, ids, strict=True))
        if len(own) < len(ids):
            self.change((), zip(values, ids, strict=True))
            return
        own.pop(None, None)
        for value in self._ids.keys() & own.keys():
            self._add(value, self._ids[value], (own.pop(value),))
        self._ids |= own
        untrack(self._ids)

    def let_go(self) -> Steps[None]:
        """Forget all values, in steps."""
        return let_go(self._ids)

    def _add(self, value: Hashable, ids: _Ids, added: Sequence[int]) -> None:
        """Add ids to a value that has some."""
        if isinstance(ids, int):
            self._keep(value, sorted((*added, ids)))
        elif isinstance(ids, list):
            for ident in added:
                put(ids, ident, ident)
            if len(ids) > _FEW:
                self._keep(value, ids)
        else:
            ids.change(added)

    def _keep(self, value: Hashable, ids: list[int]) -> None:
        if len(ids) > _FEW:
            self._ids[value] = SortedSequence(ids)
        else:
            self._ids[value] = ids if len(ids) > 1 else ids[0]
            untrack(ids)

    def _remove_few(self, value: Hashable, ids: int | list[int], removed: Sequence[int]) -> None:
        if isinstance(ids, int):
            left = [] if ids in removed else [ids]
        else:
            left = ids
            for ident in removed:
                put(left, ident, None)
        if left:
            self._keep(value, left)
        else:
            del self._ids[value]

    def _change_many(
        self,
        value: Hashable,
        ids: SortedSequence[int],
        removed: Sequence[int],
        added: Sequence[int],
    ) -> None:
        ids.change(added, removed)
        if len(ids) <= _FEW // 2:
            if few := ids[:]:
                self._keep(value, few)
            else:
                del self._ids[value]


def _by_value(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, list[int]]:
    """Return ids by their values, except of None."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for value, ident in pairs:
        found[value].append(ident)
    found.pop(None, None)
    return found
