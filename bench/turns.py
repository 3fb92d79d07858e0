"""The longest turn of an event loop since its program started, by its metrics."""

from __future__ import annotations

import re

from bench.asking import ask
from bench.programs import BenchError, Program

METRICS = r"metrics at http://([0-9.:]+)/"
_BUCKET = re.compile(r"^sessiongate_loop_lag_cpu_seconds_bucket\{(.*)\} (\S+)", re.MULTILINE)
_BOUND = re.compile(r'le="([^"]+)"')


def longest_turn(program: Program) -> float:
    """Return the most CPU seconds that a loop took while a timer was due, up to a bucket."""
    metrics = program.expect(METRICS)
    counts: dict[float, float] = {}
    for labels, count in _BUCKET.findall(ask(metrics, "/metrics").body.decode()):
        (bound,) = _BOUND.findall(labels)
        counts[float(bound)] = float(count)
    most = max(counts.values(), default=0)
    if not most:
        raise BenchError(f"no turn of a loop is shown at {metrics}")
    return min(bound for bound, count in counts.items() if count == most)
