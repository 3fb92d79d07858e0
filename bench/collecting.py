"""The core's cost of an observation without changes: reading it, and comparing.

A real collector runs in this process over recorded responses (`bench.recordings`);
the process's CPU time is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import pairwise
from statistics import median

from google.protobuf.timestamp_pb2 import Timestamp

from bench.recordings import ANSWERS, KINDS, Observe
from sessiongate.core.collect.collector import Collector
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.sources.base import Observation, SourceConfig
from sessiongate.core.table.table import SessionTable

SESSIONS = 10_000


def measure() -> Mapping[str, float]:
    """Return the CPU seconds of an observation of unchanged sessions, by the source's kind."""
    return {kind: asyncio.run(_measure(KINDS[kind](SESSIONS))) for kind in KINDS}


class _Recorded:
    """A source that records when, in CPU time, each of its observations begins."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe
        self.began: list[float] = []
        self.done = asyncio.Event()

    async def observe(self) -> Observation:
        self.began.append(time.process_time())
        if len(self.began) > ANSWERS:
            self.done.set()
            await asyncio.Event().wait()
        return await self._observe()

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


async def _measure(observe: Observe) -> float:
    source = _Recorded(observe)
    config = SourceConfig(kind="recorded", location="", name="recorded", interval=0.001)
    table = SessionTable([config.name], 1, Timestamp)
    ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
    collector = Collector(table, ledger, [(config, source)], stale_after=1, now=time.time_ns)
    await collector.start()
    await source.done.wait()
    await collector.close()
    await ledger.close()
    assert len(table) == SESSIONS, len(table)
    # The first observation finds everything new; the second one is the first to find
    # everything known.
    times = source.began[2:]
    return median(end - begin for begin, end in pairwise(times))


def main() -> None:
    """Print each kind's figure."""
    for kind, seconds in measure().items():
        print(f"{kind:16}{seconds * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
