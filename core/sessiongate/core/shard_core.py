"""Runs a core of a shard, whose ledger is in PostgreSQL: it stands by, is active, stands by again.

A core that loses the pen to another one stands by in the same process, with nothing kept of what it
knew.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sessiongate.core.collect.observer import Observer, Standby
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.collect.warm_table import WarmTable
from sessiongate.core.fleet.agreement import stated_place
from sessiongate.core.fleet.directory import ActiveCore
from sessiongate.core.fleet.member import MemberEntry
from sessiongate.core.fleet.membership import Membership
from sessiongate.core.fleet.quarantine import Quarantine
from sessiongate.core.fleet.standby_start import StandbyStart
from sessiongate.core.ledger.base import Ledger
from sessiongate.core.ledger.lock import LedgerError, LedgerRefusalError
from sessiongate.core.ledger.postgresql.connection import LedgerAwayError
from sessiongate.core.ledger.postgresql.ledger import PostgresqlLedger
from sessiongate.core.server import Core, moment_now, open_sources
from sessiongate.core.settings import CoreConfig
from sessiongate.core.standby import StandbyServer
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.addresses import Address

log = logging.getLogger(__name__)

if TYPE_CHECKING:  # else imported when used: Prometheus's library is slow to import
    from prometheus_client.registry import Collector as MetricCollector

AGAIN = 0.5  # seconds after a start that has failed
_T = TypeVar("_T")


class ShardCore:
    """A core that runs until ``stop`` is set."""

    def __init__(
        self,
        config: CoreConfig,
        stop: asyncio.Event,
        start: Callable[[Core, asyncio.Event], Coroutine[Any, Any, bool]],
        listening: Callable[[str], None],
    ) -> None:
        """``start`` starts a core unless stopped; ``listening`` gets the address, once."""
        self._config, self._stop = config, stop
        self._start, self._listening = start, listening
        self._is_listening, self._has_stood_by = False, False
        places = {
            source.name: stated_place(source, socket.gethostname()) for source in config.sources
        }
        entry = MemberEntry(config.core_name, config.shard_name, places=places)
        self._membership = Membership(config.ledger, entry, config.takeover_after)
        self._observing = Quarantine(self._membership)  # of what the observer reads
        self._warm_start: StandbyStart | None = None
        self._observer = Observer(
            *(lambda: open_sources(config), self._membership.tell, self._warm_up),
            first_reads=self._observing,
        )
        self._standby = Standby()  # as the observer has left it
        self._metrics: list[MetricCollector] = []
        if config.core_metrics is not None:
            from sessiongate.core.fleet.metrics import ShardMetrics

            self._metrics.append(ShardMetrics(self._membership))

    async def run(self) -> None:
        """Run. Raises `ConfigError`, `LedgerError`, `FileError` or `ListenError`."""
        for _, source in open_sources(self._config):  # a fault shows before it is needed
            await source.close()
        try:
            await self._unless_stopped(self._membership.join())
            while not self._stop.is_set():
                await self._serve()
        finally:
            await self._membership.close()

    async def _serve(self) -> None:
        """Stand by until this core can be active, then be active until it cannot."""
        ledger = await self._stand_by()
        if ledger is None:
            return
        # So that the metrics say that this core is active before it says that it is ready.
        await self._unless_stopped(self._membership.look())
        quarantine = Quarantine(self._membership)
        try:
            await self._be_active(ledger, quarantine)
        finally:
            await quarantine.close()

    async def _be_active(self, ledger: Ledger, quarantine: Quarantine) -> None:
        """Be active until another core is, or this one is stopped."""
        standby, self._standby = self._standby, Standby()
        core = Core(self._config, ledger, self._metrics, quarantine, standby)
        del standby
        try:
            if not await self._start(core, self._stop):
                return
        except LedgerError as error:
            # Such as of a server that has just failed; at first, it may be the configuration.
            is_passing = self._is_listening or isinstance(error, LedgerAwayError)
            if isinstance(error, LedgerRefusalError) or not is_passing:
                raise
            self._membership.use(None)
            log.error("%s; standing by again", error)
            await asyncio.sleep(AGAIN)
            return
        self._membership.served()
        try:
            await self._note_address(core.address)
            shown = self._config.core_name, self._config.shard_name
            if self._has_stood_by:
                self._membership.takeovers += 1
                log.warning("%s has taken over the shard %s", *shown)
            else:
                log.info("%s is active for the shard %s", *shown)
            self._has_stood_by = True  # whatever it becomes active after, it is no start
            lost = asyncio.create_task(core.ledger_lost.wait())
            kept = asyncio.create_task(self._membership.keep())
            stopped = asyncio.create_task(self._stop.wait())
            tasks = (lost, kept, stopped)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            if stopped.done() and not (lost.done() or kept.done()):
                await self._membership.hand_over()
            held = self._membership.ledger
            if not stopped.done() and not (held and held.pen.was_put_down):  # that has counted
                self._membership.pens_lost += 1
        finally:
            await core.stop()
            self._membership.use(None)
        if kept.done() and not kept.cancelled():
            await kept  # raises: another program has the name

    async def _stand_by(self) -> Ledger | None:
        """Return the ledger once nobody else is active; None if stopped before."""
        config = self._config
        async with StandbyServer(config, self._metrics) as server:

            async def waiting(active: ActiveCore | None) -> None:
                if not server.is_open:
                    await self._note_address(await server.open())
                self._observer.start()
                before, server.active = server.active, active
                server.trouble = self._membership.clock.trouble
                if active is not None and (before is None or before.backend != active.backend):
                    log.warning(
                        "standing by for the shard %s: %s is active",
                        *(config.shard_name, active.shown),
                    )
                    self._has_stood_by = True

            ledger: Ledger | None = None
            try:
                ledger = await self._unless_stopped(self._membership.stand_by(self._take, waiting))
            finally:
                self._standby, self._warm_start = await self._observer.stop(), None
                await self._observing.close()
                if ledger is None:
                    await self._standby.close()
            return ledger

    async def _warm_up(self, last: WarmTable | None) -> WarmTable | None:
        """Return the table to keep warm: the last one, unless its start cannot be the next."""
        config, before = self._config, self._warm_start
        try:
            self._warm_start = await StandbyStart.next(self._membership, before)
        except LedgerError:
            return last
        if last is not None and before is self._warm_start:
            return last
        names = (source.name for source in config.sources)
        return WarmTable(
            SessionTable(names, self._warm_start.revision, moment_now),
            *(self._warm_start, config.sources),
            *(config.limits.max_session, Scopes(config.network)),
        )

    def _opening(self, ledger: PostgresqlLedger) -> None:
        """State for which start the table is warm, before this core asks for the pen."""
        self._membership.use(ledger)
        if self._warm_start is not None:
            ledger.pen.reserved = self._warm_start.reserved

    async def _take(self) -> Ledger:
        config = self._config
        return await PostgresqlLedger.open(
            config.ledger,
            policy=config.policy,
            now=time.time_ns,
            shard=config.shard_name,
            core=config.core_name,
            opening=self._opening,
        )

    async def _note_address(self, address: str) -> None:
        """Tell where this core listens, which stays the same."""
        if not self._is_listening:
            self._is_listening = True
            self._config = replace(self._config, grpc=address)
            self._listening(address)
            await self._membership.move(self._config.advertise or called(address))

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Return the result of some work; None if stopped before it has ended."""
        return await unless(self._stop, work)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """Return the result of some work; None if ``stop`` is set before it has ended."""
    working = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
        if working.cancelled():
            return None
    return await working


def called(address: str) -> str:
    """Return how others call what listens at an address: a wildcard is no host."""
    if address.startswith("unix:"):
        return address
    found = Address.parse(address)
    if found.is_wildcard:
        found = replace(found, host=socket.gethostname())
    return str(found)
