"""Indexes of a store's sessions by what filters name, and the ids that these find."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, repeat
from typing import NamedTuple, TypeAlias

from sessiongate.gateway.representation.row import SessionRow
from sessiongate.runtime.index import Index
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.states import STATE_WORDS

# A session's value in each field of `FIELDS`; None if it has none.
IndexedValues: TypeAlias = tuple[Hashable, ...]
FIELDS = ("services", "users", "states", "sources", "databases", "applications", "remotes")
_NONE = (None,) * len(FIELDS)


def values_of(row: SessionRow, session: Session) -> IndexedValues:
    """Return the values by which a session is found: those that its resource object shows."""
    state, database = row.state, session.database
    application, remote = session.application, session.remote
    return (
        row.service,
        row.user,
        state if state in STATE_WORDS else SessionState.SESSION_STATE_UNSPECIFIED,
        row.source if session.HasField("native_id") else None,
        # Seldom empty: a field that has a value needs no other look.
        database if database or session.HasField("database") else None,
        application if application or session.HasField("application") else None,
        remote if remote or session.HasField("remote") else None,
    )


class Move(NamedTuple):
    """The values of a session before and after a change."""

    id: int
    before: IndexedValues
    after: IndexedValues


class AttributeIndexes:
    """The ids of sessions by each of their values."""

    def __init__(self) -> None:
        self._indexes = [Index() for _ in FIELDS]

    def change(
        self,
        removed: Mapping[int, IndexedValues],
        added: Mapping[int, IndexedValues],
        moved: Sequence[Move],
    ) -> None:
        """Forget the ids in ``removed``, and take those in ``added``; ``moved`` are in neither."""
        gone = zip(*removed.values(), strict=True) if removed else repeat(())
        new = zip(*added.values(), strict=True) if added else repeat(())
        for number, (index, before, after) in enumerate(
            zip(self._indexes, gone, new, strict=False)
        ):
            left = [one for one in moved if one.before[number] != one.after[number]]
            index.change(
                chain(zip(before, removed, strict=False), [(m.before[number], m.id) for m in left]),
                chain(zip(after, added, strict=False), [(m.after[number], m.id) for m in left]),
            )

    def find(self, wanted: Mapping[str, Collection[Hashable]]) -> FoundIds:
        """Return the ids that have one of the values wanted in the field that finds fewest."""
        found = [
            FoundIds([self._indexes[FIELDS.index(field)].ids(value) for value in values])
            for field, values in wanted.items()
        ]
        return min(found, key=len).kept()


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
