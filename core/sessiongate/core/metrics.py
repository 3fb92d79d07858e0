"""The metrics that a core exposes to Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector as MetricCollector

from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.ledger.base import HistorySize, Ledger
from sessiongate.core.table.table import SessionTable
from sessiongate.core.table_filler import TableFiller
from sessiongate.runtime.telemetry.latency import LATENCY_BUCKETS, Durations
from sessiongate.runtime.telemetry.metrics import ProcessCollector, registry
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.source_service_pb2 import SourceState


class _Calls(MetricCollector):
    """Completed calls and ended streams, by method and status code."""

    def __init__(self, counts: CallCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        labels = ("method", "code")
        took = HistogramMetricFamily(
            "sessiongate_grpc_call_duration_seconds",
            "Time taken by the core to answer a call.",
            labels=labels,
        )
        for key, found in self._counts.durations.items():
            took.add_metric(key, _buckets(found), found.seconds)
        ended = CounterMetricFamily(
            "sessiongate_grpc_streams_ended",
            "Number of streams of the core that have ended.",
            labels=labels,
        )
        for key, count in self._counts.streams.items():
            ended.add_metric(key, count)
        return [took, ended]


class _Actions(MetricCollector):
    """Attempts to act on sessions, by source, action and outcome."""

    def __init__(self, outcomes: Mapping[tuple[str, str, str], int]) -> None:
        self._outcomes = outcomes

    def collect(self) -> Iterable[Metric]:
        attempts = CounterMetricFamily(
            "sessiongate_actions",
            "Number of attempts to act on sessions; the source is empty if no session has the id.",
            labels=("source", "action", "outcome"),
        )
        for key, count in self._outcomes.items():
            attempts.add_metric(key, count)
        return [attempts]


class _State(MetricCollector):
    """The state of the table, its watchers and its sources when collected."""

    def __init__(
        self, table: SessionTable, watchers: StreamQuota, filler: TableFiller, ledger: Ledger | None
    ) -> None:
        self._table = table
        self._ledger = ledger
        self._watchers = watchers
        self._filler = filler

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "sessiongate_revision", "Revision of the core's table.", self._table.revision
        )
        yield GaugeMetricFamily(
            "sessiongate_watchers", "Number of open session streams.", len(self._watchers)
        )
        if self._ledger is not None:
            yield from self._ledger_calls(self._ledger)
            yield from self._history(self._ledger.size)
        yield from self._reports()
        yield from self._activities()
        yield from self._tallies()

    def _ledger_calls(self, ledger: Ledger) -> Iterable[Metric]:
        took = ledger.durations
        duration = HistogramMetricFamily(
            "sessiongate_ledger_call_duration_seconds",
            "Time taken by the ledger to write, or to read before it writes.",
        )
        duration.add_metric([], _buckets(took), took.seconds)
        yield duration
        yield CounterMetricFamily(
            "sessiongate_ledger_failures",
            "Number of these calls that failed.",
            ledger.failures,
        )
        yield GaugeMetricFamily(
            "sessiongate_ledger_busy_seconds",
            "Time since such a call last ended while others wait; 0 if none waits.",
            ledger.busy_for,
        )

    def _history(self, kept: HistorySize) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "sessiongate_history_rows", "Number of past sessions that are kept.", kept.rows
        )
        yield GaugeMetricFamily("sessiongate_history_bytes", "Size of the ledger.", kept.size)
        oldest = GaugeMetricFamily(
            "sessiongate_history_oldest_end_time_seconds",
            "When the oldest past session ended; missing if none is kept.",
        )
        if kept.oldest_end is not None:
            oldest.add_metric([], kept.oldest_end / 1e9)
        yield oldest

    def _reports(self) -> Iterable[Metric]:
        sessions = _gauge("sessions", "Number of listed sessions.")
        reachable = _gauge("source_reachable", "Whether the last observation succeeded.")
        age = _gauge("source_age_seconds", "Time since the last successful observation.")
        unreadable = _gauge(
            "source_unreadable",
            "Number of sessions, and of session members, that the last observation could not read.",
            "what",
        )
        partial = _gauge(
            "source_partial", "Whether the last observation lacks some of the source's sessions."
        )
        for report in self._filler.reports():
            sessions.add_metric([report.name], report.session_count)
            reached = report.state == SourceState.SOURCE_STATE_REACHABLE
            reachable.add_metric([report.name], reached)
            partial.add_metric([report.name], bool(report.partial))
            unreadable.add_metric([report.name, "sessions"], report.unreadable_sessions)
            unreadable.add_metric([report.name, "members"], report.unreadable_members)
            if report.HasField("last_success_time"):
                last = report.last_success_time.ToNanoseconds() / 1e9
                age.add_metric([report.name], max(0.0, time.time() - last))
        return [sessions, reachable, age, partial, unreadable]

    def _activities(self) -> Iterable[Metric]:
        by_activity = _gauge(
            "sessions_by_activity", "Number of sessions by what they are doing.", "activity"
        )
        blocked = _gauge("blocked_sessions", "Number of sessions that wait for other sessions.")
        waiting = _gauge(
            "longest_blocked_seconds",
            "Time since the first of them began to wait; missing if none is known.",
        )
        oldest = _gauge(
            "longest_transaction_seconds",
            "Time since the oldest current transaction began; missing if none is known.",
        )
        for source, tally in self._table.activities:
            if unknown := tally.states[None]:
                by_activity.add_metric([source, "unknown"], unknown)
            if unknown == tally.states.total():
                continue
            for state, word in ACTIVITY_WORDS.items():
                by_activity.add_metric([source, word], tally.states[state])
            blocked.add_metric([source], tally.blocked)
            for shown, began in ((waiting, tally.oldest_wait), (oldest, tally.oldest_transaction)):
                if began is not None:
                    shown.add_metric([source], max(0.0, time.time() - began / 1e9))
        return [by_activity, blocked, waiting, oldest]

    def _tallies(self) -> Iterable[Metric]:
        took = SummaryMetricFamily(
            "sessiongate_source_observation_seconds",
            "Number and total duration of successful observations.",
            labels=["source"],
        )
        failures = CounterMetricFamily(
            "sessiongate_source_failures", "Number of failed observations.", labels=["source"]
        )
        for name, counts in self._filler.observation_counts().items():
            took.add_metric([name], counts.succeeded, counts.seconds)
            failures.add_metric([name], counts.failed)
        return [took, failures]


def core_registry(
    calls: CallCounts,
    table: SessionTable,
    watchers: StreamQuota,
    filler: TableFiller,
    ledger: Ledger | None,
    outcomes: Mapping[tuple[str, str, str], int] | None = None,
    *,
    more: Iterable[MetricCollector] = (),
) -> CollectorRegistry:
    """Return a registry of all metrics of a core, and of ``more``.

    ``ledger`` is the one that it writes to, and ``outcomes`` are those of actions, if any.
    """
    state = [_State(table, watchers, filler, ledger)]
    acted = [] if outcomes is None else [_Actions(outcomes)]
    processes = ProcessCollector(lambda: {"core": os.getpid()})
    return registry(_Calls(calls), *state, *acted, *more, processes)


def _buckets(found: Durations) -> list[tuple[str, int]]:
    """Return the buckets of a histogram."""
    bounds = [*(str(float(bound)) for bound in LATENCY_BUCKETS), "+Inf"]
    return [*zip(bounds, accumulate(found.buckets), strict=True)]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sessiongate_{name}", text, labels=["source", *labels])
