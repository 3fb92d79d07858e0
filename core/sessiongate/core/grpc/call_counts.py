"""Counts of the core's calls, which `core.metrics` shows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from sessiongate.runtime.telemetry.latency import LATENCY_BUCKETS

MethodAndCode: TypeAlias = tuple[str, str]


class CallDurations(NamedTuple):
    """How long the calls of a method took that ended with one status code."""

    buckets: Sequence[int]  # calls up to each of `LATENCY_BUCKETS`, beyond the one before; the rest
    seconds: float  # in total


class CallCounts:
    """Completed calls and ended streams, by method and status code."""

    def __init__(self) -> None:
        self._buckets: defaultdict[MethodAndCode, list[int]] = defaultdict(
            lambda: [0] * (len(LATENCY_BUCKETS) + 1)
        )
        self._seconds: defaultdict[MethodAndCode, float] = defaultdict(float)
        self._streams: Counter[MethodAndCode] = Counter()

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count a call that took this long."""
        # Not by the library's histogram, which takes a lock and a lookup of labels for each value.
        self._buckets[method, code][bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._seconds[method, code] += seconds

    def ended(self, method: str, code: str) -> None:
        """Count a stream that has ended."""
        self._streams[method, code] += 1

    @property
    def durations(self) -> Iterator[tuple[MethodAndCode, CallDurations]]:
        """The durations of completed calls."""
        for key, buckets in self._buckets.items():
            yield key, CallDurations(buckets, self._seconds[key])

    @property
    def streams(self) -> Mapping[MethodAndCode, int]:
        """The numbers of streams that have ended."""
        return self._streams
