"""The metrics of a core's shard, while it is active and while it stands by."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sessiongate.core.fleet.membership import Membership


class ShardMetrics(Collector):
    """The state of a core's membership when collected."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def collect(self) -> Iterable[Metric]:
        shown = self._membership
        for name, text, value in (
            ("active", "Whether this core is active for its shard.", float(shown.is_active)),
            ("standbys", "Number of cores that stand by for the shard.", shown.standbys),
            (
                "beat_late_seconds",
                "How late the heartbeat of the active core is.",
                shown.beat_late,
            ),
            (
                "clock_off_seconds",
                "How far this machine's clock is ahead of that of the ledger's server.",
                shown.clock.off,
            ),
            ("ledger_reachable", "Whether this core reaches the ledger.", float(shown.is_reached)),
        ):
            gauge = GaugeMetricFamily(f"sessiongate_shard_{name}", text, labels=["shard"])
            gauge.add_metric([shown.shard], value)
            yield gauge
        ledger = shown.ledger
        ahead = GaugeMetricFamily(
            "sessiongate_ledger_partitions_ahead_seconds",
            "How far ahead there are partitions for past sessions.",
        )
        oldest = GaugeMetricFamily(
            "sessiongate_ledger_oldest_xmin_age",
            "Age in transactions of the oldest snapshot in the ledger's server.",
        )
        if ledger is not None and ledger.last_end:
            ahead.add_metric([], ledger.last_end / 1e9 - time.time())
            oldest.add_metric([], ledger.oldest_xmin)
        yield from (ahead, oldest)
        for name, text, count in (
            ("takeovers", "Times that this core became active after it stood by.", shown.takeovers),
            ("pens_lost", "Times that this core was active and lost the pen.", shown.pens_lost),
            ("cores_ended", "Times that this core ended one that hung.", shown.ended),
        ):
            counter = CounterMetricFamily(f"sessiongate_shard_{name}", text, labels=["shard"])
            counter.add_metric([shown.shard], count)
            yield counter
