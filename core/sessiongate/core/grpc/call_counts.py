"""Counts of the core's calls, which `core.metrics` shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from sessiongate.runtime.telemetry.latency import Durations

MethodAndCode: TypeAlias = tuple[str, str]


class CallCounts:
    """Completed calls and ended streams, by method and status code."""

    def __init__(self) -> None:
        self._durations: defaultdict[MethodAndCode, Durations] = defaultdict(Durations)
        self._streams: Counter[MethodAndCode] = Counter()

    def answered(self, method: str, code: str, seconds: float) -> None:
        """Count a call that took this long."""
        self._durations[method, code].add(seconds)

    def ended(self, method: str, code: str) -> None:
        """Count a stream that has ended."""
        self._streams[method, code] += 1

    @property
    def durations(self) -> Mapping[MethodAndCode, Durations]:
        """The durations of completed calls."""
        return self._durations

    @property
    def streams(self) -> Mapping[MethodAndCode, int]:
        """The numbers of streams that have ended."""
        return self._streams
