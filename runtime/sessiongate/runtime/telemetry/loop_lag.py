"""The lag of an event loop: how late it runs what is due, while something else takes its turn.

Part of the lag is the loop's own work, which the program is to blame for. The rest is time in
which its thread did not run: it waited for a CPU, a disk or another thread. A timer that comes
due in one turn of the loop runs at the end of the next, so both may be up to two turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, thread_time

from prometheus_client import CollectorRegistry, Histogram

# Seconds from one sample to the next. A turn is seen with at least its duration minus this.
_PERIOD = 0.02
# Close together around what a turn may take, 20 ms.
_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10),
)


class LoopLag:
    """Samples the lag of a loop; ``process`` says whose, as the metrics' label of that name."""

    def __init__(self, process: str, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "sessiongate_loop_lag_seconds",
            "How late the event loop ran a timer, sampled every 20 ms.",
            ["process"],
            buckets=_BUCKETS,
            registry=registry,
        ).labels(process)
        self._work = Histogram(
            "sessiongate_loop_lag_cpu_seconds",
            "The CPU time that the event loop itself took of that lag, at most.",
            ["process"],
            buckets=_BUCKETS,
            registry=registry,
        ).labels(process)
        self._due = self._worked = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Sample the running loop until the context ends."""
        self._wait()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _wait(self) -> None:
        # A callback, not a task: a task would continue only in the turn after the timer's.
        self._due, self._worked = monotonic() + _PERIOD, thread_time()
        self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._sample)

    def _sample(self) -> None:
        lag = max(0.0, monotonic() - self._due)
        self._lag.observe(lag)
        self._work.observe(min(lag, thread_time() - self._worked))
        self._wait()
