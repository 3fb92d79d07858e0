"""The longest turn of a running program's event loops, by its metrics, while others load it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.program import PATIENCE, Serving

ARGUMENTS = ("--metrics", "127.0.0.1:0", "--core-metrics", "127.0.0.1:0")
"""The settings that a program needs to be measured."""

# Samples by process, and by how many seconds they took at most, as Prometheus writes them.
_Counts = Mapping[str, Mapping[str, float]]


class LoopLags:
    """Measures from `__enter__` to `__exit__`."""

    def __init__(self, serving: Serving) -> None:
        self._urls = re.findall(r"metrics at (\S+/metrics)", serving.output)
        assert len(self._urls) in (0, 2), serving.output

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is None:
            self._after = self._read()

    def longest(self) -> Mapping[str, int]:
        """Return the most ms of CPU that a loop took while a timer was due, up to a bucket.

        This does not depend on what else runs on the machine. Empty if the program was started
        without `ARGUMENTS`.
        """
        if not self._urls:
            return {}
        assert self._after.keys() == {"core", "workers"}
        return {
            process: round(1000 * _longest(self._before.get(process, {}), counts))
            for process, counts in self._after.items()
        }

    def _read(self) -> _Counts:
        counts: dict[str, dict[str, float]] = {}
        for url in self._urls:
            text = httpx.get(url, timeout=PATIENCE, trust_env=False).text
            for metric in text_string_to_metric_families(text):
                for sample in metric.samples:
                    if sample.name == "sessiongate_loop_lag_cpu_seconds_bucket":
                        of_process = counts.setdefault(sample.labels["process"], {})
                        of_process[sample.labels["le"]] = sample.value
        return counts


def _longest(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    new = {float(bound): count - before.get(bound, 0) for bound, count in after.items()}
    most = max(new.values())
    assert most > 0, "not one sample"
    return min(bound for bound, count in new.items() if count == most)
