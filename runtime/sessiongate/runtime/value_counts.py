"""Counts by values, and the order in which they are returned."""

from __future__ import annotations

from collections import Counter
from heapq import merge
from itertools import chain, islice
from typing import Any, TypeAlias

from sessiongate.runtime.turns import Steps, let_go

# Values that are counted together: one or more, of which None is a missing one.
CountedValues: TypeAlias = tuple[str | int | None, ...]

# A dict that grows is copied at once, and one that goes is freed at once: many small ones
# are so in many short moments.
_DICTS = 512
_AT_ONCE = 500  # counts between two rests: less than a millisecond of work


class ValueCounts:
    """The number of items with the same values."""

    def __init__(self) -> None:
        self.total = 0
        self._dicts: list[dict[CountedValues, int]] = [{} for _ in range(_DICTS)]

    def __len__(self) -> int:
        return sum(map(len, self._dicts))

    def add(self, values: CountedValues, count: int) -> None:
        """Count more of what has these values."""
        self.total += count
        known = self._dicts[hash(values) % _DICTS]
        known[values] = known.get(values, 0) + count

    def largest_first(self, start: int, stop: int) -> Steps[list[tuple[CountedValues, int]]]:
        """Return some of the values with their counts, the largest first.

        Equal counts are in the order of their values, of which None comes last.
        """
        least = yield from self._least(stop)
        runs: list[list[tuple[Any, ...]]] = []
        run: list[tuple[Any, ...]] = []
        for known in self._dicts:
            run += [_sortable(*one) for one in known.items() if one[1] >= least]
            if len(run) >= _AT_ONCE:
                runs.append(sorted(run))
                run = []
            yield
        runs.append(sorted(run))
        found: list[tuple[CountedValues, int]] = []
        ordered = merge(*runs)
        for low in range(0, min(stop, len(self)), _AT_ONCE):
            part = [*islice(ordered, min(_AT_ONCE, stop - low))]
            found += [(one[2::2], -one[0]) for one in part[max(0, start - low) :]]
            yield
        del ordered
        yield from let_go(*runs)
        return found

    def _least(self, most: int) -> Steps[int]:
        """Return a count that the ``most`` largest have at least."""
        tally: Counter[int] = Counter()
        for known in self._dicts:
            tally.update(known.values())
            yield
        least = 0
        for least in sorted(tally, reverse=True):
            most -= tally[least]
            if most <= 0:
                break
        return least

    def let_go(self) -> Steps[None]:
        """Forget everything, resting between steps."""
        self.total = freed = 0
        for known in self._dicts:
            freed += len(known)
            known.clear()
            if freed >= _AT_ONCE:
                freed = 0
                yield


def _sortable(values: CountedValues, count: int) -> tuple[Any, ...]:
    """Return a tuple that holds both, flat: the garbage collector need not look into it."""
    return (-count, *chain.from_iterable((one is None, one) for one in values))
