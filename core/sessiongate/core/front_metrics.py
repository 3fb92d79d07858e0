"""The metrics that only a front has."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as MetricCollector

from sessiongate.core.follow.front import Front
from sessiongate.runtime.elapsed import elapsed


class FrontMetrics(MetricCollector):
    """The metrics of how well a front hears the shards."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def collect(self) -> Iterable[Metric]:
        heard = _gauge("shard_heard", "Whether this front hears the shard's active core.")
        age = _gauge(
            "shard_age_seconds",
            "Time since what is shown of the shard was known to be current; missing before that.",
        )
        for name, shard in sorted(self._front.shards.items()):
            heard.add_metric([name], shard.is_heard)
            if shard.moment is not None:
                age.add_metric([name], max(0.0, elapsed() - shard.moment))
        return [heard, age]


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sessiongate_{name}", text, labels=["shard"])
