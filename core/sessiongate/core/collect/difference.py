"""The difference between an observation and the one before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import filterfalse

from sessiongate.core.collect.keys import short
from sessiongate.core.sources.base import Observed
from sessiongate.core.sources.support.pacing import Pace, kept, mapped
from sessiongate.runtime.memory import untrack

_PART = 5_000  # objects compared in one go, which takes about half a millisecond


@dataclass(frozen=True, slots=True)
class Difference:
    """The sessions that are stated and were not, or were by another object, and reverse."""

    fresh: Mapping[str, Observed]  # by key, in the order in which they are stated
    gone: Sequence[str]  # keys that are no longer stated, in any order
    repeated: int  # stated sessions with the key of another
    left_out: int  # stated sessions beyond the limit


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
    others: list[Observed] = []
    for start in range(0, len(sessions), _PART):
        part = sessions[start : start + _PART]
        others += filterfalse(stated.__contains__, part)
        gone.difference_update(part)
        await pace.pause()
    fresh: dict[str, Observed] = {}

    def enter(item: Observed) -> None:
        key = short(item.key)
        before = shown.get(key)
        is_repeated = before in stated and before not in gone
        if not is_repeated and (key not in fresh or item is before):
            fresh[key] = item

    await mapped(enter, others, pace)
    staying = len(stated) - len(gone)
    distinct = staying + len(fresh)
    if distinct > limit:
        first = await kept(known.__contains__, fresh, pace)
        first += await kept(lambda key: key not in known, fresh, pace)
        chosen = {*first[: max(0, limit - staying)]}
        pairs = await kept(lambda pair: pair[0] in chosen, fresh.items(), pace)
        fresh = dict(pairs)
    keys = await mapped(lambda item: short(item.key), gone, pace)
    return Difference(
        fresh,
        await kept(lambda key: key not in fresh, keys, pace),
        repeated=len(sessions) - distinct,
        left_out=distinct - staying - len(fresh),
    )
