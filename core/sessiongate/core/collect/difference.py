"""The difference between an observation and the one before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import filterfalse

from sessiongate.core.collect.keys import short
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.pacing import Pace, kept, mapped
from sessiongate.runtime.memory import untrack, untracked
from sessiongate.runtime.split_dict import SplitDict
from sessiongate.runtime.turns import let_go_soon

_PART = 5_000  # objects compared in one go, which takes about half a millisecond


@dataclass(frozen=True, slots=True)
class Difference:
    """The sessions that are stated and were not, or were by another object, and reverse."""

    fresh: FreshSessions
    gone: list[str]  # keys that are no longer stated, in any order
    repeated: int  # stated sessions with the key of another
    left_out: int  # stated sessions beyond the limit

    def let_go_soon(self) -> None:
        """Forget the sessions, which nobody needs anymore: many of them in steps."""
        let_go_soon(self.gone, *self.fresh.containers)


class FreshSessions(Mapping[str, Observed]):
    """Sessions by key, in the order in which they are stated."""

    def __init__(self) -> None:
        self._keys: list[str] = untracked([])
        self._items: list[Observed] = untracked([])
        self._places: SplitDict[str, int] = SplitDict()  # in these lists

    @property
    def containers(self) -> tuple[list[str], list[Observed], SplitDict[str, int]]:
        """What there is as many entries in as there are sessions."""
        return self._keys, self._items, self._places

    def put(self, key: str, item: Observed) -> None:
        """Put a session last; in its place, if one with this key is there."""
        place = self._places.get(key)
        if place is None:
            self._places[key] = len(self._keys)
            self._keys.append(key)
            self._items.append(item)
        else:
            self._items[place] = item

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Observed:
        return self._items[self._places[key]]

    def pairs(self) -> Iterator[tuple[str, Observed]]:
        """Iterate over the keys with their sessions, which is faster than ``items`` is."""
        return zip(self._keys, self._items, strict=True)


async def difference(
    sessions: Sequence[Observed],
    stated: Set[Observed],
    shown: Mapping[str, Observed],
    known: Collection[str],
    limit: int,
    pace: Pace,
) -> Difference:
    """Compare an observation's sessions with those ``stated`` before.

    All of those are ``shown``, by key. Of two sessions with the same key take the one shown,
    else the first. Of more than ``limit`` sessions, leave out keys that are not ``known`` first.
    """
    gone = set(stated)
    untrack(gone)
    if isinstance(sessions, list | tuple):
        untrack(sessions)
    others: list[Observed] = untracked([])
    for start in range(0, len(sessions), _PART):
        part = sessions[start : start + _PART]
        others += filterfalse(stated.__contains__, part)
        gone.difference_update(part)
        await pace.pause()
    fresh = FreshSessions()

    def enter(item: Observed) -> None:
        key = short(item.key)
        before = shown.get(key)
        is_repeated = before in stated and before not in gone
        if not is_repeated and (key not in fresh or item is before):
            fresh.put(key, item)

    await mapped(enter, others, pace)
    staying = len(stated) - len(gone)
    distinct = staying + len(fresh)
    if distinct > limit:
        first = await kept(known.__contains__, fresh, pace)
        first += await kept(lambda key: key not in known, fresh, pace)
        chosen: SplitDict[str, None] = SplitDict()
        within = first[: max(0, limit - staying)]
        await mapped(lambda key: chosen.__setitem__(key, None), within, pace)
        found, fresh = fresh, FreshSessions()
        within = await kept(chosen.__contains__, found, pace)
        await mapped(lambda key: fresh.put(key, found[key]), within, pace)
    keys = await mapped(lambda item: short(item.key), gone, pace)
    absent = await kept(lambda key: key not in fresh, keys, pace)
    let_go_soon(others, gone, keys)
    repeated, left_out = len(sessions) - distinct, distinct - staying - len(fresh)
    return Difference(fresh, absent, repeated, left_out)
