"""The collector: runs the sources, and publishes what they observe.

Each source has its own task, timeout and back-off; one that fails does not affect others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from sessiongate.core.collect.collector_context import CollectorContext
from sessiongate.core.collect.exchanged_names import refuse_exchange
from sessiongate.core.collect.first_reads import FirstReads
from sessiongate.core.collect.history_keeper import HistoryKeeper, end_others
from sessiongate.core.collect.links import Links
from sessiongate.core.collect.runner import SOURCE_CLOSE_TIMEOUT, ObservationCounts, Runner
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.collect.terminations import Terminations
from sessiongate.core.collect.warm_table import WarmTable
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.coverage import Interval
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.sources.base import Source, SourceConfig
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.background import in_background
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.runtime.memory import FreeMemory
from sessiongate.v1 import source_service_pb2


class Collector:
    """Keeps a table in sync with its sources, from `start` to `close`."""

    def __init__(
        self,
        table: SessionTable,
        ledger: Ledger,
        sources: Iterable[tuple[SourceConfig, Source]],
        *,
        stale_after: float,
        now: Callable[[], int],
        max_session: int = MAX_SESSION,
        scopes: Scopes | None = None,
        first_reads: FirstReads | None = None,
        warm: WarmTable | None = None,
    ) -> None:
        """State TCP links in the sessions, for fronts, if there are ``scopes``.

        Ask ``first_reads`` before a source is read for the first time. If there is a ``warm``
        table, it is this one: go on with it.
        """
        self.terminations = Terminations()
        links, warmed = (warm.links, warm.shown_sources) if warm else (Links(), {})
        context = CollectorContext(
            *(table, ledger, links, FreeMemory(), stale_after, max_session, now),
            *(scopes, first_reads, self.terminations, warmed),
        )
        self._table = table
        self._ledger = ledger
        self._runners = [Runner(config, source, context) for config, source in sources]
        self._history = HistoryKeeper(ledger, [each.observed_times for each in self._runners])
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Read the ledger and start observing. Raises `LedgerError`."""
        before = await self._ledger.places()
        refuse_exchange(before, {runner.name: runner.place for runner in self._runners})
        names = {runner.name for runner in self._runners}
        await self._ledger.own(names)
        held = await self._ledger.held()
        await end_others(self._ledger, held, names)
        for runner in self._runners:
            await runner.restore(before.get(runner.name), held.get(runner.name, {}))
        self._tasks = [
            in_background(each.run, f"reading source {each.name}") for each in self._runners
        ]
        self._tasks.append(in_background(self._history.keep, "keeping the history"))

    def observed(self, now: int) -> list[Interval]:
        """Return when sources were observed, as far as the ledger may not have it.

        Those that are read without a break count as observed until ``now``, in ns since the
        epoch.
        """
        self._table.deadlines.enforce()
        found: list[Interval] = []
        for runner in self._runners:
            is_current = self._table.source(runner.name).reachable
            found += runner.observed_times.until(now, elapsed(), is_current=is_current)
        return found

    def runner(self, source: str) -> Runner:
        """Return what reads a source, by its name."""
        return next(runner for runner in self._runners if runner.name == source)

    def reports(self) -> list[source_service_pb2.Source]:
        """Return the state of each source, in the order of the configuration."""
        self._table.deadlines.enforce()
        return [runner.report() for runner in self._runners]

    async def current_reports(self) -> list[source_service_pb2.Source]:
        """Return the same."""
        return self.reports()

    def observation_counts(self) -> Mapping[str, ObservationCounts]:
        """Return the counts of observations of each source, by name."""
        return {runner.name: runner.counts for runner in self._runners}

    async def close(self) -> None:
        """Stop observing and close the sources; one that hangs or fails is abandoned."""
        self._table.deadlines.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SOURCE_CLOSE_TIMEOUT)
        await asyncio.gather(*(runner.close() for runner in self._runners))
        with suppress(LedgerError, TimeoutError):
            async with asyncio.timeout(SOURCE_CLOSE_TIMEOUT):
                await self._history.note()
