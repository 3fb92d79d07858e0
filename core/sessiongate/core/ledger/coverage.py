"""When each source was observed, and when a core ran; from that, what is not known of a time.

Times are ns since the epoch. An interval grows while its source is observed again and again; it
is written every few seconds, so that a core that is killed leaves a short doubt.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

from sessiongate.v1.history_service_pb2 import GapReason, HistoryGap

COVERAGE_TABLES = (
    # The columns of the key come first: SQLite 3.40 takes others between them for corruption.
    "coverage (source VARCHAR NOT NULL, start_time BIGINT NOT NULL, is_partial BIGINT NOT NULL,"
    " end_time BIGINT NOT NULL, PRIMARY KEY (source, start_time, is_partial)) WITHOUT ROWID",
    # Sessions that lasted less than a run's least_duration are not kept.
    "runs (start_time INTEGER NOT NULL PRIMARY KEY, end_time BIGINT NOT NULL,"
    " least_duration BIGINT NOT NULL)",
)
# Up to when past sessions are no longer kept: the name of a counter.
HORIZON = "history_horizon"
_NOTED = "history_noted"  # the name of another: when a core last wrote that it ran


class Interval(NamedTuple):
    """A time in which a source was observed, completely or only in part."""

    source: str
    start: int
    end: int
    is_partial: bool = False


class CoreRun(NamedTuple):
    """A time in which a core ran."""

    start: int
    end: int
    least_duration: int = 0  # ns


class Gap(NamedTuple):
    """A time about which not everything is known of a source; 0 is no beginning."""

    source: str
    start: int
    end: int
    reason: GapReason

    def message(self) -> HistoryGap:
        """Return the gap as the contract has it."""
        gap = HistoryGap(source=self.source, reason=self.reason)
        if self.start:
            gap.start_time.FromNanoseconds(self.start)
        gap.end_time.FromNanoseconds(self.end)
        return gap


def write_coverage(
    connection: sqlite3.Connection, intervals: Iterable[Interval], run: CoreRun
) -> None:
    """Write intervals that began or grew, and how long the core has run."""
    connection.executemany(
        "INSERT INTO coverage (source, start_time, end_time, is_partial) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (source, start_time, is_partial) DO UPDATE SET end_time = excluded.end_time",
        intervals,
    )
    connection.execute(
        "INSERT INTO runs VALUES (?, ?, ?) ON CONFLICT (start_time)"
        " DO UPDATE SET end_time = excluded.end_time",
        run,
    )
    connection.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET value = excluded.value",
        (_NOTED, run.end),
    )


def forget_coverage(connection: sqlite3.Connection, horizon: int) -> None:
    """Delete what ended before a time."""
    connection.execute("DELETE FROM coverage WHERE end_time < ?", (horizon,))
    connection.execute("DELETE FROM runs WHERE end_time < ?", (horizon,))


def covered_until(connection: sqlite3.Connection, source: str) -> int | None:
    """Return when a source was last observed, as far as that is written."""
    ((end,),) = connection.execute("SELECT max(end_time) FROM coverage WHERE source = ?", (source,))
    noted = connection.execute("SELECT value FROM counters WHERE name = ?", (_NOTED,))
    # If the clock was set back, the latest time is not the last one.
    return None if end is None else min([end, *(value for (value,) in noted)])


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of the times at which sources were observed."""

    intervals: Sequence[Interval]
    runs: Sequence[CoreRun]
    first: dict[str, int]  # when each source was first observed
    horizon: int  # sessions that ended until then are not kept

    @classmethod
    def read(cls, connection: sqlite3.Connection, start: int, end: int) -> Coverage:
        """Read what concerns the time from ``start`` to ``end``."""
        intervals = connection.execute(
            "SELECT source, start_time, end_time, is_partial FROM coverage"
            " WHERE end_time >= ? AND start_time <= ? ORDER BY source, start_time",
            (start, end),
        )
        runs = connection.execute(
            "SELECT start_time, end_time, least_duration FROM runs"
            " WHERE end_time >= ? AND start_time <= ? ORDER BY start_time",
            (start, end),
        )
        first = connection.execute("SELECT source, min(start_time) FROM coverage GROUP BY source")
        horizon = connection.execute("SELECT value FROM counters WHERE name = ?", (HORIZON,))
        return cls(
            [Interval(source, begin, stop, bool(part)) for source, begin, stop, part in intervals],
            [CoreRun(*run) for run in runs],
            dict(first),
            next((value for (value,) in horizon), 0),
        )

    def gaps(self, sources: Collection[str], start: int, end: int) -> Iterator[Gap]:
        """Yield what is not known of these sources from ``start`` to ``end``, in order.

        A moment is the time from itself to itself.
        """
        runs = _Spans((run.start, run.end) for run in self.runs)
        brief = _Spans((run.start, run.end) for run in self.runs if run.least_duration)
        for source in sorted({*sources}):
            mine = [each for each in self.intervals if each.source == source]
            whole = _Spans((each.start, each.end) for each in mine if not each.is_partial)
            part = _Spans((each.start, each.end) for each in mine if each.is_partial)
            first = self.first.get(source)

            def reason(
                moment: float,
                whole: _Spans = whole,
                part: _Spans = part,
                first: int | None = first,
            ) -> GapReason | None:
                if moment < self.horizon:
                    return GapReason.GAP_REASON_RETENTION
                if first is None or moment < first:
                    return GapReason.GAP_REASON_BEFORE_HISTORY
                if part.hold(moment):
                    return GapReason.GAP_REASON_PARTIAL
                if whole.hold(moment):
                    below = GapReason.GAP_REASON_BELOW_MINIMUM
                    return below if brief.hold(moment) else None
                if runs.hold(moment):
                    return GapReason.GAP_REASON_UNREACHABLE
                return GapReason.GAP_REASON_CORE_DOWN

            edges = {self.horizon, first or 0}.union(
                *(spans.edges for spans in (runs, brief, whole, part))
            )
            yield from _gaps(source, start, end, edges, reason)


class _Spans:
    """Times, each from a start to an end that both belong to it."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    @property
    def edges(self) -> Iterator[int]:
        """All starts and ends."""
        return chain(self._starts, self._ends)

    def hold(self, moment: float) -> bool:
        """Return whether a moment is in one of them."""
        place = bisect_right(self._starts, moment)
        return place > 0 and moment <= self._ends[place - 1]


def _gaps(
    source: str,
    start: int,
    end: int,
    edges: Iterable[int],
    reason: Callable[[float], GapReason | None],
) -> Iterator[Gap]:
    """Yield the gaps of a source; between two edges, one reason holds."""
    if start == end:
        found = reason(start)
        if found is not None:
            yield Gap(source, start, end, found)
        return
    points = sorted({start, end, *(edge for edge in edges if start < edge < end)})
    begin, last = start, None
    for low, high in pairwise(points):
        found = reason((low + high) / 2)
        if found != last:
            if last is not None:
                yield Gap(source, begin, low, last)
            begin, last = low, found
    if last is not None:
        yield Gap(source, begin, end, last)
