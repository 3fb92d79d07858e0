"""When each source was observed, and when a core ran; from that, what is not known of a time.

Times are ns since the epoch. An interval grows while its source is observed again and again; it
is written every few seconds, so that a core that is killed leaves a short doubt.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import NamedTuple

from sessiongate.v1.history_service_pb2 import GapReason, HistoryGap


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


class KnownSpan(NamedTuple):
    """When a source was first and last observed."""

    first: int
    last: int


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


@dataclass(frozen=True, slots=True)
class Coverage:
    """The times at which sources were observed, as far as they are known."""

    intervals: Sequence[Interval]
    runs: Sequence[CoreRun]
    observed: Mapping[str, KnownSpan]  # by source
    horizon: int  # sessions that ended until then are not kept

    def continued(self, observed: Iterable[Interval], run: CoreRun) -> Coverage:
        """Return this with what a core that runs has observed and not written yet."""
        intervals = [*observed]
        known = dict(self.observed)
        for each in intervals:
            first, last = known.get(each.source, (each.start, each.end))
            known[each.source] = KnownSpan(min(first, each.start), max(last, each.end))
        return Coverage([*self.intervals, *intervals], [*self.runs, run], known, self.horizon)

    def gaps(self, sources: Collection[str], start: int, end: int) -> Iterator[Gap]:
        """Yield what is not known of these sources from ``start`` to ``end``, in order.

        A moment is the time from itself to itself.
        """
        runs = _Spans((run.start, run.end) for run in self.runs)
        # What a run did not keep, because it lasted too short, may have begun before the run.
        brief = _Spans(
            (run.start - run.least_duration, run.end) for run in self.runs if run.least_duration
        )
        for source in sorted({*sources}):
            mine = [each for each in self.intervals if each.source == source]
            whole = _Spans((each.start, each.end) for each in mine if not each.is_partial)
            part = _Spans((each.start, each.end) for each in mine if each.is_partial)
            known = self.observed.get(source)
            first = None if known is None else known.first

            def reason(
                moment: float,
                whole: _Spans = whole,
                part: _Spans = part,
                first: int | None = first,
            ) -> GapReason | None:
                if first is None or moment < first:
                    return GapReason.GAP_REASON_BEFORE_HISTORY
                if moment < self.horizon:
                    return GapReason.GAP_REASON_RETENTION
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
