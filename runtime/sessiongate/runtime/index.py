"""Index: the ids of sessions by one of their values, kept by each change."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

from sessiongate.runtime.sorted_sequence import SortedSequence, put

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
        many: dict[Hashable, tuple[set[int], list[int]]] = {}  # ids to remove and to add
        for value, ident in removed:
            ids = self._ids.get(value)
            if isinstance(ids, SortedSequence):
                many.setdefault(value, (set(), []))[0].add(ident)
            elif isinstance(ids, list):
                put(ids, ident, None)
                if len(ids) == 1:
                    self._ids[value] = ids[0]
            elif ids == ident:
                del self._ids[value]
                gone.add(value)
        for value, new in _by_value(added).items():
            ids = self._ids.get(value)
            if isinstance(ids, SortedSequence):
                many.setdefault(value, (set(), []))[1].extend(new)
                continue
            if ids is None:
                (gone.remove if value in gone else come.add)(value)
            if isinstance(ids, list):
                for ident in new:
                    put(ids, ident, ident)
            elif ids is not None:
                new.append(ids)
            self._keep(value, ids if isinstance(ids, list) else sorted({*new}))
        for value, (out, more) in many.items():
            self._change_many(value, out, more)
            if value not in self._ids:
                gone.add(value)
        return come, gone

    def _keep(self, value: Hashable, ids: list[int]) -> None:
        if len(ids) > _FEW:
            self._ids[value] = SortedSequence(ids)
        else:
            self._ids[value] = ids if len(ids) > 1 else ids[0]

    def _change_many(self, value: Hashable, removed: Iterable[int], added: Iterable[int]) -> None:
        ids = self._ids[value]
        assert isinstance(ids, SortedSequence)  # noqa: S101 - a step makes no fewer of it
        ids.change(added, removed)
        if len(ids) <= _FEW // 2:
            if few := ids[:]:
                self._keep(value, few)
            else:
                del self._ids[value]


def _by_value(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, list[int]]:
    """Return ids by their values, except of None."""
    found: dict[Hashable, list[int]] = {}
    for value, ident in pairs:
        ids = found.get(value)
        if ids is not None:
            ids.append(ident)
        elif value is not None:
            found[value] = [ident]
    return found
