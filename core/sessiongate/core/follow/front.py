"""A front: shows the sessions of all shards in one table, by following their active cores."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping
from itertools import count

from sessiongate.client.asynchronous import AsyncClient
from sessiongate.core.collect.runner import ObservationCounts
from sessiongate.core.follow.fleet_links import FleetLinks
from sessiongate.core.follow.follower import CoreToFollow
from sessiongate.core.follow.reports import SourceReports
from sessiongate.core.follow.shard import Connect, FollowedShard
from sessiongate.core.follow.shown_shard import ShownShard
from sessiongate.core.ledger.coverage import Interval
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.background import in_background
from sessiongate.runtime.limits import MAX_SESSION
from sessiongate.v1 import source_service_pb2

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0  # seconds between two looks for what is stale
_REPORTS_EVERY = 5  # of these looks: the cores are asked for reports on sources


class Front:
    """Keeps a table in sync with the cores that are active, from `start` to `close`.

    `follow` says which these are, as often as that changes.
    """

    def __init__(
        self,
        table: SessionTable,
        connect: Connect,
        *,
        stale_after: float,
        max_session: int = MAX_SESSION,
    ) -> None:
        """Call cores by what ``connect`` returns for an address."""
        self._links = FleetLinks(max_session)
        self.shards: dict[str, FollowedShard] = {}
        self._table = table
        self._connect = connect
        self._stale_after = stale_after
        self._reports = SourceReports(table)
        self._owners: dict[str, str] = {}  # the shard of each source
        self._refused: dict[str, set[str]] = {}  # by source, other shards that have it, too
        self._tasks: list[asyncio.Task[None]] = []
        self._removing: dict[str, asyncio.Task[None]] = {}  # shards that are no longer shown
        self._has_begun = asyncio.Event()  # which shards there are is known
        table.current_until = self._current_until

    async def start(self) -> None:
        """Begin to serve what is followed."""
        self._tasks = [
            asyncio.create_task(self._become_ready()),
            in_background(self._keep, "looking for what is stale"),
        ]

    def follow(
        self,
        cores: Mapping[str, CoreToFollow | str],
        sources: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """Follow these cores, by shard; a text says why there is none.

        ``sources`` are the names of the sources of shards of which nothing may be heard.
        """
        for name, core in sorted(cores.items()):
            if name in self._removing:
                continue  # it starts over when that has ended
            shard = self.shards.get(name)
            if shard is None:
                shard = self.shards[name] = self._shard(name)
                shard.shown.name_sources((sources or {}).get(name, ()))
            shard.change_over(core)
        for name in self.shards.keys() - cores.keys():
            self._removing[name] = asyncio.create_task(self._remove(self.shards.pop(name)))
        self._has_begun.set()

    async def _remove(self, shard: FollowedShard) -> None:
        try:
            await shard.remove()
        finally:
            del self._removing[shard.name]

    def _shard(self, name: str) -> FollowedShard:
        shown = ShownShard(
            *(self._table, self._links, self._stale_after),
            claim=lambda source: self._claim(source, name),
            release=self._release,
        )
        return FollowedShard(name, self._table, shown, self._connect)

    def _claim(self, source: str, shard: str) -> bool:
        """Return whether a source is a shard's: the first that has it keeps it."""
        owner = self._owners.setdefault(source, shard)
        if owner == shard:
            return True
        refused = self._refused.setdefault(source, set())
        if shard not in refused:
            refused.add(shard)
            log.error(
                "the shards %s and %s both have a source named %r: only that of %s is shown;"
                " rename one",
                *(owner, shard, source, owner),
            )
        return False

    def _release(self, source: str) -> None:
        """Leave a source to whichever other shard has one of that name."""
        self._owners.pop(source, None)
        for name in self._refused.pop(source, ()):
            if name in self.shards:
                self.shards[name].begin_anew()

    def client_for(self, source: str) -> AsyncClient | None:
        """Return the client of the core that is active for a source; None if it is not heard."""
        shard = self.shards.get(self._owners.get(source, ""))
        if shard is None or shard.current is None or not shard.is_heard:
            return None
        return shard.current.client

    def conflicts(self, shard: str) -> list[str]:
        """Return the sources of a shard that are not shown, as another shard has their names."""
        return sorted(name for name, shards in self._refused.items() if shard in shards)

    async def _become_ready(self) -> None:
        """Wait until each shard was heard, or tried and named."""
        await self._has_begun.wait()
        while waiting := [each for each in self.shards.values() if not each.is_settled.is_set()]:
            await waiting[0].is_settled.wait()
        self._table.ready.set()

    async def _keep(self) -> None:
        """Hide what is stale, and ask for reports, which metrics show without asking."""
        for second in count(1):
            await asyncio.sleep(_LOOK_EVERY)
            for shard in [*self.shards.values()]:
                await shard.hide_stale()
            if second % _REPORTS_EVERY == 0:
                await self._reports.ask(self.shards.values())

    def _current_until(self) -> float:
        """Return until when all that is shown as reachable is known to be current."""
        moments = (
            each.moment
            for each in self.shards.values()
            if each.moment is not None and each.shown.has_current_sources
        )
        return min(moments, default=math.inf)

    def observed(self, now: int) -> list[Interval]:
        """Return when sources were observed, as far as the ledger may not have it."""
        self._table.deadlines.enforce()
        return [each for shard in self.shards.values() for each in shard.observed(now)]

    def reports(self) -> list[source_service_pb2.Source]:
        """Return the state of each source, by name, as far as this front knows it."""
        self._table.deadlines.enforce()
        return self._reports.of(self.shards.values())

    async def current_reports(self) -> list[source_service_pb2.Source]:
        """Do what `reports` does, after asking the cores."""
        await self._reports.ask(self.shards.values())
        return self.reports()

    def observation_counts(self) -> Mapping[str, ObservationCounts]:
        """Return none: the cores observe the sources, and count that."""
        return {}

    async def close(self) -> None:
        """Stop following."""
        self._table.deadlines.close()
        for task in self._tasks:
            task.cancel()
        if tasks := [*self._tasks, *self._removing.values()]:
            await asyncio.wait(tasks)
        await asyncio.gather(*(shard.close() for shard in self.shards.values()))
