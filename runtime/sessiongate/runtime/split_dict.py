"""SplitDict: a dict with as many entries as there are sessions, of which no change takes long.

A dict that grows is copied at once, and so is one whose entries are replaced, now and then: many
small ones are so in many short moments. Their sizes differ: ids that follow each other would fill
dicts of one size at the same moment.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, MutableMapping, Sequence, ValuesView
from gc import is_tracked
from itertools import chain
from math import log2
from typing import Any, TypeVar, overload

from sessiongate.runtime.memory import untrack, untracked

_DICTS = 32  # at 500,000 entries, to copy one takes about a millisecond
# Of so many keys with consecutive hashes, the first dict has 11, and the last one 22. A dict that
# is full gets twice the room: until it is full again, all others have been, one after the other.
_KEYS = 512
_NUMBERS = [int(_DICTS * log2(1 + key / _KEYS)) for key in range(_KEYS)]
LAST = _KEYS - 1  # the entry of a key is in ``dicts[hash(key) & LAST]``
_NO_DEFAULT = object()

_K = TypeVar("_K")
_V = TypeVar("_V")
_D = TypeVar("_D")


class SplitDict(MutableMapping[_K, _V]):
    """A mapping in no particular order; ``keys``, ``values`` and ``items`` have the same one.

    Whoever does several things with a key takes its dict from ``dicts``, which takes less time.
    """

    __slots__ = ("_each", "dicts")

    def __init__(self, entries: Iterable[tuple[_K, _V]] = ()) -> None:
        self._each: Sequence[dict[_K, _V]] = untracked([{} for _ in range(_DICTS)])
        self.dicts: Sequence[dict[_K, _V]] = untracked([self._each[each] for each in _NUMBERS])
        self.put_all(entries)
        self.untrack()

    def __len__(self) -> int:
        return sum(map(len, self._each))

    def __bool__(self) -> bool:
        return any(self._each)

    def __contains__(self, key: object) -> bool:
        return key in self.dicts[hash(key) & LAST]

    def __getitem__(self, key: _K) -> _V:
        return self.dicts[hash(key) & LAST][key]

    def __setitem__(self, key: _K, value: _V) -> None:
        self.dicts[hash(key) & LAST][key] = value

    def __delitem__(self, key: _K) -> None:
        del self.dicts[hash(key) & LAST][key]

    def __iter__(self) -> Iterator[_K]:
        return chain.from_iterable(self._each)

    def put_all(self, entries: Iterable[tuple[_K, _V]]) -> None:
        """Put many entries, which takes less time than to put one after the other."""
        dicts = self.dicts
        for key, value in entries:
            dicts[hash(key) & LAST][key] = value

    def untrack(self) -> None:
        """Take the entries out of what is searched for garbage, if there are any such.

        They are searched again from the next change on: see `sessiongate.runtime.memory`. There is
        no need to call this if all values are numbers or texts.
        """
        for each in filter(is_tracked, self._each):
            untrack(each)

    def values(self) -> ValuesView[_V]:
        """Return a view of the values."""
        return _Values(self, self._each)

    def items(self) -> ItemsView[_K, _V]:
        """Return a view of the keys with their values."""
        return _Items(self, self._each)

    @overload
    def get(self, key: _K, default: None = None) -> _V | None: ...

    @overload
    def get(self, key: _K, default: _V | _D) -> _V | _D: ...

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or ``default``."""
        return self.dicts[hash(key) & LAST].get(key, default)

    @overload
    def pop(self, key: _K) -> _V: ...

    @overload
    def pop(self, key: _K, default: _V | _D) -> _V | _D: ...

    def pop(self, key: Any, default: Any = _NO_DEFAULT) -> Any:
        """Remove a key and return its value; ``default`` if there is no such key."""
        entries = self.dicts[hash(key) & LAST]
        return entries.pop(key) if default is _NO_DEFAULT else entries.pop(key, default)

    def popitem(self) -> tuple[_K, _V]:
        """Remove any entry and return it. Raises `KeyError` if there is none."""
        return next(filter(None, self._each), self._each[0]).popitem()


class _Values(ValuesView[_V]):
    def __init__(self, mapping: SplitDict[Any, _V], dicts: Iterable[dict[Any, _V]]) -> None:
        super().__init__(mapping)
        self.dicts = dicts

    def __iter__(self) -> Iterator[_V]:
        return chain.from_iterable(each.values() for each in self.dicts)


class _Items(ItemsView[_K, _V]):
    def __init__(self, mapping: SplitDict[_K, _V], dicts: Iterable[dict[_K, _V]]) -> None:
        super().__init__(mapping)
        self.dicts = dicts

    def __iter__(self) -> Iterator[tuple[_K, _V]]:
        return chain.from_iterable(each.items() for each in self.dicts)
