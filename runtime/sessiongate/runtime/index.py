"""Index: the ids of sessions by one of their values, kept by each change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

from sessiongate.runtime.memory import unsearched, untrack
from sessiongate.runtime.sorted_sequence import SortedSequence, put
from sessiongate.runtime.split_dict import LAST, SplitDict
from sessiongate.runtime.turns import Steps, let_go

# Most values have few sessions, and a value of its own is what many sessions have: one id
# is kept as it is, and some as a list.
_FEW = 512
_Ids: TypeAlias = int | list[int] | SortedSequence[int]


class Index:
    """Ids by value. A session has one value, or None, which is not indexed."""

    def __init__(self) -> None:
        self._ids: SplitDict[Hashable, _Ids] = SplitDict()

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
        dicts = self._ids.dicts
        # SortedSequence comes last: whether something is one takes long to find out.
        for value, out in less.items():
            known = dicts[hash(value) & LAST]
            ids = known.get(value)
            if ids is None:
                continue
            if isinstance(ids, int | list):
                _remove_few(known, value, ids, out)
            else:
                _change_many(known, value, ids, out, more.pop(value, ()))
            if value not in known:
                gone.add(value)
        for value, new in more.items():
            known = dicts[hash(value) & LAST]
            ids = known.get(value)
            if ids is not None:
                _add(known, value, ids, new)
                continue
            (gone.remove if value in gone else come.add)(value)
            if len(new) == 1:  # the usual one: most addresses have one session
                known[value] = new[0]
            else:
                _keep(known, value, sorted(new))
        self._ids.untrack()
        return come, gone

    @unsearched()
    def add(self, values: Sequence[Hashable], ids: Sequence[int]) -> None:
        """Add ids, each to the value in its place; a value that no other one has costs least."""
        own: dict[Hashable, int] = dict(zip(values, ids, strict=True))
        if len(own) < len(ids):
            self.change((), zip(values, ids, strict=True))
            return
        own.pop(None, None)
        dicts = self._ids.dicts
        for value, ident in own.items():
            known = dicts[hash(value) & LAST]
            before = known.get(value)
            if before is None:
                known[value] = ident
            else:
                _add(known, value, before, (ident,))
        self._ids.untrack()

    def let_go(self) -> Steps[None]:
        """Forget all values, in steps."""
        return let_go(self._ids)


def _add(known: dict[Hashable, _Ids], value: Hashable, ids: _Ids, added: Sequence[int]) -> None:
    """Add ids to a value that has some."""
    if isinstance(ids, int):
        _keep(known, value, sorted((*added, ids)))
    elif isinstance(ids, list):
        for ident in added:
            put(ids, ident, ident)
        if len(ids) > _FEW:
            _keep(known, value, ids)
    else:
        ids.change(added)


def _keep(known: dict[Hashable, _Ids], value: Hashable, ids: list[int]) -> None:
    if len(ids) > _FEW:
        known[value] = SortedSequence(ids)
    else:
        known[value] = ids if len(ids) > 1 else ids[0]
        untrack(ids)


def _remove_few(
    known: dict[Hashable, _Ids], value: Hashable, ids: int | list[int], removed: Sequence[int]
) -> None:
    if isinstance(ids, int):
        left = [] if ids in removed else [ids]
    else:
        left = ids
        for ident in removed:
            put(left, ident, None)
    if left:
        _keep(known, value, left)
    else:
        del known[value]


def _change_many(
    known: dict[Hashable, _Ids],
    value: Hashable,
    ids: SortedSequence[int],
    removed: Sequence[int],
    added: Sequence[int],
) -> None:
    ids.change(added, removed)
    if len(ids) <= _FEW // 2:
        if few := ids[:]:
            _keep(known, value, few)
        else:
            del known[value]


def _by_value(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, list[int]]:
    """Return ids by their values, except of None."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for value, ident in pairs:
        found[value].append(ident)
    found.pop(None, None)
    return found
