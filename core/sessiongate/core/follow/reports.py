"""The reports of the cores of a fleet about their sources."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sessiongate.client.errors import CallError
from sessiongate.core.follow.shard import FollowedShard
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.source_service_pb2 import Source, SourceState

_FRESH = 0.5  # seconds for which reports are not asked for again
_TIMEOUT = 1.0  # seconds that a core has to answer


class SourceReports:
    """The reports on sources, as the cores last gave them."""

    def __init__(self, table: SessionTable) -> None:
        self._table = table
        self._last: dict[str, Source] = {}  # by name
        self._asked_at = -_FRESH
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, shards: Iterable[FollowedShard]) -> None:
        """Ask the cores, unless they have just been asked; all who ask at a time share that."""
        if self._asking is None or self._asking.done():
            if elapsed() - self._asked_at < _FRESH:
                return
            self._asking = asyncio.create_task(self._ask([*shards]))
        await asyncio.shield(self._asking)

    async def _ask(self, shards: list[FollowedShard]) -> None:
        await asyncio.gather(*(self._ask_one(shard) for shard in shards))
        self._asked_at = elapsed()

    async def _ask_one(self, shard: FollowedShard) -> None:
        follower = shard.current
        if follower is None or not shard.is_heard:
            return
        try:
            reports = await follower.client.list_sources(timeout=_TIMEOUT)
        except CallError:
            return
        for report in reports:
            if report.name in shard.shown.sources:
                self._last[report.name] = report

    def of(self, shards: Iterable[FollowedShard]) -> list[Source]:
        """Return the reports by name, with what the table shows."""
        found = [self._report(name, shard) for shard in shards for name in shard.shown.sources]
        return sorted(found, key=lambda report: report.name)

    def _report(self, name: str, shard: FollowedShard) -> Source:
        report, state = Source(name=name), self._table.source(name)
        if name in self._last:
            report.CopyFrom(self._last[name])
        report.session_count = shard.shown.count(name)
        report.partial = state.partial
        del report.services[:]
        report.services.extend(state.services)
        report.shard = shard.name
        report.core = shard.current.core.name if shard.current is not None else ""
        report.state = SourceState.SOURCE_STATE_UNREACHABLE
        if state.reachable:
            report.state = SourceState.SOURCE_STATE_REACHABLE
        elif not shard.is_heard:
            report.last_error = state.error
            report.last_error_time.FromNanoseconds(shard.state_since)
        return report
