"""Assignment of ids: in order of first sight, around those that documents state."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CLOCK = 1 << 50  # microseconds (2005): a counter above it has continued from the clock
_RANDOM = 1 << 36  # microseconds, 19 hours


def from_clock(now: int, reached: int = 0) -> int:
    """Return a number above all that were assigned until ``now``, in microseconds.

    ``reached`` is the latest time that the clock is known to have shown. A clock behind it was
    set back, and may be set back to the same time again: then the number is random.
    """
    known = max(reached, CLOCK)
    return now if now > known else known + 1 + secrets.randbelow(_RANDOM)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Ids to assign, and the state of the numbering afterwards."""

    ids: Sequence[int]
    following: int
    kept: Sequence[int]  # those of the ids that are stated ones
    passed: Sequence[int]  # kept earlier or now, and below the counter from now on


class Numbering:
    """A counter, and the ids at or above it that were assigned because they were stated.

    Invariant: no id at or above ``following`` is assigned, except those in ``kept``.
    """

    def __init__(self, following: int, kept: Iterable[int] = ()) -> None:
        self._following = following
        self._kept = set(kept)

    @property
    def following(self) -> int:
        """The next number."""
        return self._following

    @property
    def beyond(self) -> int:
        """A number above all ids that were assigned."""
        return max(self._following, *(ident + 1 for ident in self._kept), 1)

    def plan(self, stated: Sequence[int | None]) -> Numbers:
        """Return an id for each: the stated one if it was never assigned, else the next number.

        Stated ids take precedence over numbers. Nothing is assigned before `carry_out`. Once
        ids continue from the clock, the assigned ones are unknown: no stated id is used.
        """
        kept: dict[int, int] = {}  # index in stated, by id
        for index, ident in enumerate(stated):
            if ident is None or ident < self._following or self._following >= CLOCK:
                continue
            if ident not in self._kept:
                kept.setdefault(ident, index)
        ids = [0] * len(stated)
        for ident, index in kept.items():
            ids[index] = ident
        following, passed = self._following, []
        numbered = deque(index for index, ident in enumerate(ids) if not ident)
        while numbered or following in self._kept or following in kept:
            if following in self._kept or following in kept:
                passed.append(following)
            else:
                ids[numbered.popleft()] = following
            following += 1
        return Numbers(ids, following, [*kept], passed)

    def carry_out(self, numbers: Numbers) -> None:
        """Assign planned ids; call this once they are stored."""
        self._following = numbers.following
        self._kept.update(numbers.kept)
        self._kept.difference_update(numbers.passed)
