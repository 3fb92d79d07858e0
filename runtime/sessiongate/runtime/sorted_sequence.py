"""SortedSequence: items in the order of their keys; a change costs what changes.

The items lie in short blocks. A snapshot shares them, and a change copies a block while a
snapshot has it, too: a snapshot costs as much as a list of the blocks, whatever changes later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice, pairwise
from operator import ge
from sys import getrefcount
from typing import Any, TypeVar, overload

from sessiongate.runtime.memory import untrack
from sessiongate.runtime.turns import Steps

_T = TypeVar("_T")

# Items of a block when it is made, and when it is split. A change moves the items of one
# block, and a split the list of the blocks: at a million items, both are about as long.
_BLOCK = 512
_LONGEST = 2 * _BLOCK
_SHORTEST = _BLOCK // 4  # a shorter block is joined with its neighbour

_blocks: list[list[object]] = [[]]
_ALONE = getrefcount(_blocks[0])  # references to a block that only one list of blocks has


class SortedSequence(Sequence[_T]):
    """Items sorted by ``key``, which no two of them share.

    ``key`` is a function of an item; without one, an item is its own key.
    """

    __slots__ = ("_blocks", "_key", "_last", "_length", "_starts")

    def __init__(self, items: Iterable[_T] = (), key: Callable[[_T], Any] | None = None) -> None:
        """Hold ``items``, which are sorted already."""
        following = iter(items)
        self._key = key
        self._blocks: list[list[_T]] = []
        while block := [*islice(following, _BLOCK)]:
            self._blocks.append(block)
            untrack(block)
        self._last = [self._key_of(block[-1]) for block in self._blocks]
        self._length = sum(map(len, self._blocks))  # asked for after each change
        self._starts: list[int] | None = None  # positions of the blocks' first items, and the end

    def _key_of(self, item: _T) -> Any:
        return item if self._key is None else self._key(item)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[_T]:
        for block in self._blocks:
            yield from block

    def parts(self) -> Iterator[Sequence[_T]]:
        """Iterate over the items in lists of some hundreds."""
        return iter(self._blocks)

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...

    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._between(start, stop)
            wanted = range(start, stop, step)
            if not wanted:
                return []
            low, high = min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1])
            return self._between(low, high + 1)[:: abs(step)][:: 1 if step > 0 else -1]
        position = range(len(self))[index]  # raises IndexError
        return self._between(position, position + 1)[0]

    def rank(self, key: Any) -> int:
        """Return the number of items whose keys are lower."""
        number = bisect_left(self._last, key)
        if number == len(self._blocks):
            return len(self)
        block = self._blocks[number]
        return self._positions()[number] + bisect_left(block, key, key=self._key)

    def find(self, key: Any) -> _T | None:
        """Return the item with this key, if any."""
        number = bisect_left(self._last, key)
        if number == len(self._blocks):
            return None
        block = self._blocks[number]
        found = block[bisect_left(block, key, key=self._key)]
        return found if self._key_of(found) == key else None

    def change(self, upserts: Iterable[_T], removals: Iterable[Any] = ()) -> None:
        """Remove the items with the keys ``removals``, and then add ``upserts``.

        Items of ``upserts`` replace those with the same keys. Keys that no item has are skipped.
        """
        upserts, removals = [*upserts], [*removals]
        if upserts and not removals and self._append(upserts):
            return
        changes: dict[Any, _T | None] = dict.fromkeys(removals)
        key_of = self._key
        changes |= {item if key_of is None else key_of(item): item for item in upserts}
        keys = sorted(changes)
        # From the end, so that splitting a block moves none of those still to be changed.
        for number, start, stop in reversed(self._spans(keys)):
            block, above = self._own(number), stop
            self._length -= len(block)
            if number == len(self._blocks) - 1:  # higher keys are appended
                above = bisect_right(keys, self._last[number], start, stop) if block else start
            for key in keys[start:above]:
                put(block, key, changes[key], key_of)
            if above < stop:
                block += [item for key in keys[above:stop] if (item := changes[key]) is not None]
            self._length += len(block)
            if _SHORTEST <= len(block) <= _LONGEST:
                self._last[number] = self._key_of(block[-1])
            else:
                self._fit(number)
        self._starts = None

    def _append(self, items: list[_T]) -> bool:
        """Add items if they are sorted, and above all others: the usual ones, as ids grow."""
        keys: list[Any] = items if self._key is None else [*map(self._key, items)]
        if (self._last and not self._last[-1] < keys[0]) or any(map(ge, keys, keys[1:])):
            return False
        number = max(0, len(self._blocks) - 1)
        block = self._own(number)
        block += items
        self._length += len(items)
        if len(block) <= _LONGEST:
            self._last[number] = keys[-1]
        else:
            self._fit(number)
        self._starts = None
        return True

    def snapshot(self) -> SortedSequence[_T]:
        """Return the sequence as it is now, which later changes leave alone."""
        taken: SortedSequence[_T] = SortedSequence(key=self._key)
        taken._blocks, taken._last = self._blocks.copy(), self._last.copy()
        taken._starts, taken._length = self._starts, self._length
        return taken

    def let_go(self) -> Steps[None]:
        """Forget all items, in steps, except for snapshots."""
        blocks, self._blocks, self._last = self._blocks, [], []
        self._length, self._starts = 0, None
        while blocks:
            blocks.pop()
            yield

    def _spans(self, keys: Sequence[Any]) -> list[tuple[int, int, int]]:
        """Return the numbers of the blocks that sorted keys belong to, each with its span of keys.

        The last block takes all higher keys, too.
        """
        spans: list[tuple[int, int, int]] = []
        last, number, start = self._last, 0, 0
        while start < len(keys):
            number = bisect_left(last, keys[start], number)
            if number >= len(last) - 1:
                spans.append((max(0, len(last) - 1), start, len(keys)))
                break
            highest, stop = last[number], start + 1
            while stop < len(keys) and keys[stop] <= highest:
                stop += 1
            spans.append((number, start, stop))
            start = stop
        return spans

    def _own(self, number: int) -> list[_T]:
        """Return a block that no snapshot has."""
        if number == len(self._blocks):  # there is none yet
            self._blocks, self._last = [[]], [None]
        elif getrefcount(self._blocks[number]) > _ALONE:
            self._blocks[number] = self._blocks[number].copy()
            untrack(self._blocks[number])
        return self._blocks[number]

    def _fit(self, number: int) -> None:
        """Split a block that has become too long, or join one that is too short."""
        block, stop = self._blocks[number], number + 1
        if len(block) < _SHORTEST and stop < len(self._blocks):
            block = block + self._blocks[stop]
            stop += 1
        size = _BLOCK if len(block) > _LONGEST else _LONGEST
        cuts = [*range(0, len(block), size), len(block)]
        if len(cuts) > 2 and len(block) - cuts[-2] < _SHORTEST:
            del cuts[-2]
        self._replace(number, stop, [block[low:high] for low, high in pairwise(cuts)])

    def _replace(self, start: int, stop: int, blocks: list[list[_T]]) -> None:
        for block in blocks:
            untrack(block)
        self._blocks[start:stop] = blocks
        self._last[start:stop] = [self._key_of(block[-1]) for block in blocks]

    def _between(self, start: int, stop: int) -> list[_T]:
        """Return the items at the positions from ``start`` to before ``stop``."""
        found: list[_T] = []
        number = bisect_left(self._positions(), start + 1) - 1
        while start < stop:
            first = self._positions()[number]
            block = self._blocks[number]
            found += block[start - first : stop - first]
            start = first + len(block)
            number += 1
        return found

    def _positions(self) -> list[int]:
        if self._starts is None:
            self._starts = [*accumulate(map(len, self._blocks), initial=0)]
        return self._starts


def put(
    items: list[_T], key: Any, item: _T | None, key_of: Callable[[_T], Any] | None = None
) -> None:
    """Insert or replace the item with this key in sorted items, or remove it if None is given."""
    if not items or key > (items[-1] if key_of is None else key_of(items[-1])):
        if item is not None:  # the usual one: ids grow
            items.append(item)
        return
    place = bisect_left(items, key, key=key_of)
    if (items[place] if key_of is None else key_of(items[place])) != key:
        if item is not None:
            items.insert(place, item)
    elif item is not None:
        items[place] = item
    else:
        del items[place]
