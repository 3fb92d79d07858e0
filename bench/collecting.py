"""The core's cost of a source's first observation, and of one without changes.

A real collector runs in this process, which collects garbage as the core does, over recorded
responses (`bench.recordings`); the process's CPU time is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from bench.measures import LONG
from bench.recordings import ANSWERS, KINDS, Observe
from sessiongate.core.collect.collector import Collector
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.sources.base import Observation, SourceConfig
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.memory import collect_rarely

SESSIONS = 10_000


class Cost(NamedTuple):
    """The CPU seconds of an observation."""

    first: float  # in which all sessions are new
    unchanged: float


def measure() -> Mapping[str, Cost]:
    """Return what observations cost, by the source's kind."""
    found: dict[str, Cost] = {}
    for kind, recorded in KINDS.items():
        observe = recorded(SESSIONS)
        collect_rarely()  # nor are the recorded responses searched for garbage
        found[kind] = asyncio.run(_measure(observe))
    return found


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


async def _measure(observe: Observe) -> Cost:
    source = _Recorded(observe)
    config = SourceConfig(
        kind="recorded", location="", name="recorded", interval=0.001, timeout=LONG
    )
    table = SessionTable([config.name], 1, Timestamp)
    ledger = await SqliteLedger.open("sqlite://", now=time.time_ns)
    collector = Collector(table, ledger, [(config, source)], stale_after=LONG, now=time.time_ns)
    await collector.start()
    await source.done.wait()
    await collector.close()
    await ledger.close()
    assert len(table) == SESSIONS, len(table)
    # The second one is the first to find everything known.
    first, _, *unchanged = (end - begin for begin, end in pairwise(source.began))
    return Cost(first, median(unchanged))


def main() -> None:
    """Print each kind's figures."""
    for kind, cost in measure().items():
        print(f"{kind:16}{cost.first * 1000:8.1f}{cost.unchanged * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
