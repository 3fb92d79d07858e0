"""Index: the ids of sessions by one of their values, kept by each change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

from sessiongate.runtime.sorted_sequence import SortedSequence

# Most values have few sessions, and a value of its own is what many sessions have: one id
# is kept as it is, and some as a tuple.
_FEW = 32
_Ids: TypeAlias = int | tuple[int, ...] | SortedSequence[int]


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
    ) -> None:
        """Remove ids from the values that they had, and then add ids to values."""
        changes: defaultdict[Hashable, dict[int, bool]] = defaultdict(dict)
        for value, ident in removed:
            changes[value][ident] = False
        for value, ident in added:
            changes[value][ident] = True
        for value, kept in changes.items():
            if value is not None:
                self._change(value, kept)

    def _change(self, value: Hashable, kept: dict[int, bool]) -> None:
        """Add and remove ids of one value: those that are to be ``kept``, and the others."""
        ids = self.ids(value)
        if isinstance(ids, SortedSequence):
            ids.change(
                [ident for ident, keep in kept.items() if keep],
                [ident for ident, keep in kept.items() if not keep],
            )
        else:
            left = {ident for ident in ids if ident not in kept}
            ids = tuple(sorted(left.union(ident for ident, keep in kept.items() if keep)))
        if len(ids) > _FEW and isinstance(ids, tuple):
            self._ids[value] = SortedSequence(ids)
        elif len(ids) > 1:
            self._ids[value] = ids if len(ids) > _FEW // 2 else tuple(ids)
        elif ids:
            self._ids[value] = ids[0]
        else:
            self._ids.pop(value, None)
