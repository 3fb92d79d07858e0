"""The metrics that a core exposes to Prometheus."""

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
    """Completed calls and ended streams, by method and status code."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Histogram(
            "sessiongate_grpc_call_duration_seconds",
            "Time taken by the core to answer a call.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._streams = Counter(
            "sessiongate_grpc_streams_ended_total",
            "Number of streams of the core that have ended.",
            ["method", "code"],
            registry=self.registry,
        )

    def answered(self, method: str, code: str, seconds: float) -> None:
        self._calls.labels(method, code).observe(seconds)

    def ended(self, method: str, code: str) -> None:
        self._streams.labels(method, code).inc()


class _State(MetricCollector):
    """The state of the table, its watchers and its sources when collected."""

    def __init__(self, table: SessionTable, watchers: StreamQuota, collector: Collector) -> None:
        self._table = table
        self._watchers = watchers
        self._collector = collector

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "sessiongate_revision", "Revision of the core's table.", self._table.revision
        )
        yield GaugeMetricFamily(
            "sessiongate_watchers", "Number of open session streams.", len(self._watchers)
        )
        yield from self._reports()
        yield from self._tallies()

    def _reports(self) -> Iterable[Metric]:
        sessions = _gauge("sessions", "Number of listed sessions.")
        reachable = _gauge("source_reachable", "Whether the last observation succeeded.")
        age = _gauge("source_age_seconds", "Time since the last successful observation.")
        unreadable = _gauge(
            "source_unreadable",
            "Number of sessions, and of session members, that the last observation could not read.",
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
            "Number and total duration of successful observations.",
            labels=["source"],
        )
        failures = CounterMetricFamily(
            "sessiongate_source_failures", "Number of failed observations.", labels=["source"]
        )
        for name, tally in self._collector.tallies().items():
            took.add_metric([name], tally.succeeded, tally.seconds)
            failures.add_metric([name], tally.failed)
        return [took, failures]


def core_registry(
    calls: CallMetrics, table: SessionTable, watchers: StreamQuota, collector: Collector
) -> CollectorRegistry:
    """Return a registry of all metrics of a core."""
    processes = ProcessCollector(lambda: {"core": os.getpid()})
    return registry(calls.registry, _State(table, watchers, collector), processes)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sessiongate_{name}", text, labels=["source", *labels])
