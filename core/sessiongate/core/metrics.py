"""The metrics that a core shows to Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector as MetricCollector

from sessiongate.core.collect.collector import Collector
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.telemetry.metrics import LATENCY_BUCKETS, ProcessCollector, registry
from sessiongate.v1.source_service_pb2 import SourceState


class CallMetrics:
    """Calls that were answered and streams that ended, by method and status code."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Histogram(
            "sessiongate_grpc_call_duration_seconds",
            "Time that the core took to answer a call.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._streams = Counter(
            "sessiongate_grpc_streams_ended_total",
            "Streams of the core that have ended.",
            ["method", "code"],
            registry=self.registry,
        )

    def answered(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).observe(seconds)

    def ended(self, method: str, code: str) -> None:
        self._streams.labels(method, code).inc()


class _State(MetricCollector):
    """The table, its watchers and its sources, as they are when collected."""

    def __init__(self, table: SessionTable, watchers: StreamQuota, collector: Collector) -> None:
        self._table = table
        self._watchers = watchers
        self._collector = collector

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "sessiongate_revision", "Revision of the core's table.", self._table.revision
        )
        yield GaugeMetricFamily(
            "sessiongate_watchers", "Streams of sessions that are open.", len(self._watchers)
        )
        yield from self._reports()
        yield from self._tallies()

    def _reports(self) -> Iterable[Metric]:
        sessions = _gauge("sessions", "Sessions that are listed.")
        reachable = _gauge("source_reachable", "Whether the last observation succeeded.")
        age = _gauge("source_age_seconds", "Time since the last observation that succeeded.")
        unreadable = _gauge(
            "source_unreadable",
            "Sessions, and members of sessions, that the last observation could not read.",
            "what",
        )
        for report in self._collector.reports():
            sessions.add_metric([report.name], report.session_count)
            reached = report.state == SourceState.SOURCE_STATE_REACHABLE
            reachable.add_metric([report.name], reached)
            unreadable.add_metric([report.name, "sessions"], report.unreadable_sessions)
            unreadable.add_metric([report.name, "members"], report.unreadable_members)
            if report.HasField("last_success_time"):
                last = report.last_success_time.ToNanoseconds() / 1e9
                age.add_metric([report.name], max(0.0, time.time() - last))
        return [sessions, reachable, age, unreadable]

    def _tallies(self) -> Iterable[Metric]:
        took = SummaryMetricFamily(
            "sessiongate_source_observation_seconds",
            "Observations that succeeded, and the time that they took.",
            labels=["source"],
        )
        failures = CounterMetricFamily(
            "sessiongate_source_failures", "Observations that failed.", labels=["source"]
        )
        for name, tally in self._collector.tallies().items():
            took.add_metric([name], tally.succeeded, tally.seconds)
            failures.add_metric([name], tally.failed)
        return [took, failures]


def core_registry(
    calls: CallMetrics, table: SessionTable, watchers: StreamQuota, collector: Collector
) -> CollectorRegistry:
    """Return a registry of all that a core shows."""
    processes = ProcessCollector(lambda: {"core": os.getpid()})
    return registry(calls.registry, _State(table, watchers, collector), processes)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sessiongate_{name}", text, labels=["source", *labels])
