"""Which ids come next: in order of first sight, around those that documents state."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CLOCK = 1 << 50  # microseconds (2005): a counter from here on has gone on from the clock
_DRAWN = 1 << 36  # microseconds, 19 hours


def from_clock(now: int, reached: int = 0) -> int:
    """Return a number beyond all that were given, at a time; both in microseconds.

    ``reached`` is how far the clock is known to have been. A clock behind it was set back,
    and may be set back to the same time again: then the number is drawn.
    """
    known = max(reached, CLOCK)
    return now if now > known else known + 1 + secrets.randbelow(_DRAWN)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Ids to give, and the state of the numbering once they are given."""

    ids: Sequence[int]
    following: int
    kept: Sequence[int]  # those of the ids that were stated
    passed: Sequence[int]  # kept earlier or now, and behind the counter from now on


class Numbering:
    """A counter, and the ids at or above it that were given because they were stated.

    Invariant: no id at or above ``following`` was given, except those in ``kept``.
    """

    def __init__(self, following: int, kept: Iterable[int] = ()) -> None:
        self._following = following
        self._kept = set(kept)

    @property
    def following(self) -> int:
        """The next number."""
        return self._following

    def plan(self, stated: Sequence[int | None]) -> Numbers:
        """Return an id for each: the stated one if it was never given, else the next number.

        Stated ids are taken before numbers are given. Nothing is given before `carry_out`.
        Once ids go on from the clock, it is not known which were given: no stated one is taken.
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
        """Note that planned ids are given; call this once that is written down."""
        self._following = numbers.following
        self._kept.update(numbers.kept)
        self._kept.difference_update(numbers.passed)
