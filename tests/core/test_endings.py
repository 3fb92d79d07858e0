"""How sessions ended: never before they were seen, whatever the clock is set to."""

from __future__ import annotations

import asyncio
import time

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.reconciler import Reconciler
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.sources.base import Observation, SourceConfig
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.memory import FreeMemory
from tests.core.sources import seen

HOUR = 3600 * 10**9


def test_no_session_ends_before_it_was_seen_after_the_clock_was_set_back() -> None:
    async def main() -> None:
        began = current = time.time_ns()

        def now() -> int:
            return current

        ledger = await SqliteLedger.open("sqlite://", now=now)
        table = SessionTable(["s"], 1, Timestamp)
        context = CollectorContext(table, ledger, Links(), FreeMemory(), 30.0, 65_536, now)
        source = Reconciler(SourceConfig.parse("synthetic:?name=s"), context)
        await source.restore(None, {})
        both = [seen("1"), seen("2")]
        ends = []
        # Both are seen at a moment that comes again: the clock is set back twice.
        for moment, stated in (
            (began, both),
            (began + 2 * HOUR, both),
            (began + HOUR, both),
            (began, both[1:]),
            (began + 3 * HOUR, []),
        ):
            current = moment
            await source.take(Observation(stated), elapsed())
        for ident in (1, 2):
            found = await ledger.one(ident)
            assert found is not None
            ends.append(found.end_time.ToNanoseconds())
        assert ends == [began + 2 * HOUR, began + 3 * HOUR]
        source.close()
        await ledger.close()

    asyncio.run(main())
