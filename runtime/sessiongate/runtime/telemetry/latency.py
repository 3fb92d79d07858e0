"""Counts how long answers take, without what shows the counts to Prometheus."""

from __future__ import annotations

from bisect import bisect_left

# Seconds: from what a replica answers in to what a core may take.
LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Durations:
    """How long things of one kind took.

    The library's histogram takes a lock and a lookup of labels for each value.
    """

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        # Up to each of `LATENCY_BUCKETS`, beyond the one before; the rest.
        self.buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self.seconds = 0.0  # in total

    def add(self, seconds: float) -> None:
        """Count what took this long."""
        self.buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self.seconds += seconds
