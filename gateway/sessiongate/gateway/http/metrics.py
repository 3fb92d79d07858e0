"""Prometheus metrics of a gateway's worker."""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import Scope

from sessiongate.gateway.upstream.replica import Replica
from sessiongate.runtime.telemetry.latency import LATENCY_BUCKETS, Durations
from sessiongate.runtime.telemetry.loop_lag import LoopLag

# Values that callers choose must not become labels unchanged: they are unlimited in number.
METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
_OTHER = "other"
_EVERY = 1.0  # seconds between two checks of the replica


# Seconds until what was counted is written for the process that shows it, all of it together.
# Each observation of the library's takes two locks and writes two values to a file; a callback in
# each round of the event loop costs a system call.
_DELAY = 0.05


class _Answered(Durations):
    """The requests of one kind that are not written to their histogram yet."""

    __slots__ = ("_histogram",)

    def __init__(self, histogram: Histogram) -> None:
        super().__init__()
        self._histogram = histogram

    def write(self) -> None:
        """Write what was noted since the last time."""
        # The library has no public way to add several values.
        for number, count in enumerate(self.buckets):
            if count:
                self._histogram._buckets[number].inc(count)
        self._histogram._sum.inc(self.seconds)
        super().__init__()


class GatewayMetrics:
    """One worker's metrics. Those of all workers are combined when they are exported."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag = LoopLag("workers", self.registry)
        self._requests = Histogram(
            "sessiongate_http_request_duration_seconds",
            "Time that the gateway took to answer a request; for an event stream, to begin it.",
            ["route", "method", "status"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._calls = Histogram(
            "sessiongate_core_call_duration_seconds",
            "Time that the gateway waited for a call to the core.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._working = Gauge(
            "sessiongate_http_requests_in_progress",
            "Requests that are being worked on.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._streams = Gauge(
            "sessiongate_http_event_streams",
            "Event streams that are open.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._revision = Gauge(
            "sessiongate_replica_revision",
            "Revision that the workers' replicas have all reached.",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self._as_of = Gauge(
            "sessiongate_replica_as_of_timestamp_seconds",
            "When the oldest of the workers' replicas was current, since the epoch.",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self._ledgers = Gauge(
            "sessiongate_core_ledgers",
            "Number of different ledgers of the cores, as each last stated its own.",
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        # By route, method and status; the library's own lookup costs more.
        self._known: dict[tuple[str, str, int], _Answered] = {}
        self._unwritten: set[_Answered] = set()

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request."""
        route = getattr(scope.get("route"), "path", _OTHER)
        key = route, scope["method"], status
        known = self._known.get(key)
        if known is None:
            method = scope["method"] if scope["method"] in METHODS else _OTHER
            known = _Answered(self._requests.labels(route, method, str(status)))
            if method != _OTHER:
                self._known[key] = known
        known.add(seconds)
        if not self._unwritten:
            asyncio.get_running_loop().call_later(_DELAY, self.write)
        self._unwritten.add(known)

    def write(self) -> None:
        """Write what was counted and is not written yet; call it before the worker ends."""
        for answered in self._unwritten:
            answered.write()
        self._unwritten.clear()

    def called(self, method: str, code: str, seconds: float) -> None:
        """Count a call to the core."""
        self._calls.labels(method, code).observe(seconds)

    def found_ledgers(self, number: int) -> None:
        """Record how many different ledgers the cores have."""
        self._ledgers.set(number)

    def working(self, requests: int, streams: int) -> None:
        """Record the numbers of requests and streams in progress."""
        self._working.set(requests)
        self._streams.set(streams)

    async def follow(self, replica: Replica) -> None:
        """Record the progress of a replica until cancelled."""
        while True:
            if replica.age is not None:
                self._revision.set(replica.store.revision)
                self._as_of.set(time.time() - replica.age)
            await asyncio.sleep(_EVERY)
