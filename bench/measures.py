"""The measures at scale, each with its bound and the sizes that it is taken at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TypeAlias

# Seconds; a program with this many sessions that takes longer hangs.
LONG = 120.0
# Changes a second, for each session that the page shows.
PAGE_CHANGES = 0.05


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of sessions."""

    table: int  # the largest table
    churning: int  # a table in which sessions are replaced
    filtered: int  # a table that is filtered,
    few: int  # and a small one to compare it with
    listed: int
    shown: int  # by the page
    seconds: int  # that churn is watched for
    looking: int  # seconds that the page is looked at
    past: int  # sessions that have ended,
    dropped: int  # and of those, that are dropped
    hour: int  # that have ended in one hour
    shard: int  # of a fleet
    takeovers: int  # from each kind of failure
    fleet: int  # of three cores,
    replaced: int  # and of those, each second,
    load: int  # seconds

    @property
    def changes(self) -> float:
        """The number of changes each second while the page is open."""
        return self.shown * PAGE_CHANGES


FULL = Sizes(
    *(1_000_000, 500_000, 100_000, 1_000, 10_000, 10_000, 20, 60),
    *(10_000_000, 1_000_000, 1_800_000, 100_000, 25, 30_000, 2_000, 60),
)
QUICK = Sizes(
    *(100_000, 50_000, 20_000, 1_000, 2_000, 10_000, 5, 10),
    *(200_000, 50_000, 50_000, 20_000, 2, 6_000, 300, 10),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure in a unit. A ``bound`` is the target at the full sizes."""

    text: str  # with names of `Sizes` in braces
    unit: str
    bound: float | None = None
    at_most: bool = True

    def at(self, sizes: Sizes) -> str:
        """Return the text with sizes."""
        return self.text.format(**asdict(sizes), changes=sizes.changes)


Found: TypeAlias = Iterator[tuple[Measure, float]]
"""Yields each measure as soon as it is taken. Raises `BenchError` if one cannot be."""
