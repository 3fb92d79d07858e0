"""How the time that answers take is counted, without what shows the counts to Prometheus."""

from __future__ import annotations

# Seconds: from what a replica answers in to what a core may take.
LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
