"""What a gateway's worker counts for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import Scope

from runtime.metrics import LATENCY_BUCKETS

# What callers choose must not become a label as it is: there would be no end of them.
_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
_OTHER = "other"


class GatewayMetrics:
    """One worker's metrics. Those of all workers are added up where they are shown."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "sessiongate_http_request_duration_seconds",
            "Time that the gateway took to answer a request; of an event stream, to begin.",
            ["route", "method", "status"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._calls = Histogram(
            "sessiongate_core_call_duration_seconds",
            "Time that the gateway waited for a call of the core.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
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
        # Histograms by their labels, which the library looks up at more cost.
        self._known: dict[tuple[str, str, int], Histogram] = {}

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request."""
        route = getattr(scope.get("route"), "path", _OTHER)
        key = route, scope["method"], status
        known = self._known.get(key)
        if known is None:
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            known = self._requests.labels(route, method, str(status))
            if method != _OTHER:
                self._known[key] = known
        known.observe(seconds)

    def called(self, method: str, code: str, seconds: float) -> None:
        """Count a call of the core."""
        self._calls.labels(method, code).observe(seconds)

    def replicated(self, revision: int, as_of: float) -> None:
        """Tell how far the replica is; ``as_of`` in seconds since the epoch."""
        self._revision.set(revision)
        self._as_of.set(as_of)
