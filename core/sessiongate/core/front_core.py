"""Runs a front: it joins the fleet, follows the active cores, and serves what they show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sessiongate.core.fleet.member import MemberEntry
from sessiongate.core.fleet.membership import Membership
from sessiongate.core.fleet.primaries import PrimaryWatch
from sessiongate.core.front_server import FrontServer
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.reading import ReadLedger
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.shard_core import called, unless
from sessiongate.runtime.background import in_background


class FrontCore:
    """A front that runs until ``stop`` is set."""

    def __init__(
        self,
        config: CoreConfig,
        stop: asyncio.Event,
        start: Callable[[Core, asyncio.Event], Coroutine[Any, Any, bool]],
        listening: Callable[[str], None],
    ) -> None:
        """``start`` starts a core unless stopped; ``listening`` gets the address."""
        self._config, self._stop = config, stop
        self._start, self._listening = start, listening
        entry = MemberEntry(config.core_name)
        self._membership = Membership(config.ledger, entry, config.takeover_after)

    async def run(self) -> None:
        """Run. Raises `ConfigError`, `LedgerError`, `FileError` or `ListenError`."""
        try:
            await unless(self._stop, self._membership.join())
            ledger = None
            if not self._stop.is_set():
                ledger = await unless(self._stop, self._open())
            if ledger is not None:
                await self._serve(FrontServer(self._config, ledger))
        finally:
            await self._membership.close()

    async def _open(self) -> ReadLedger:
        config = self._config
        return await ReadLedger.open(
            config.ledger, policy=config.policy, now=time.time_ns, core=config.core_name
        )

    async def _serve(self, front: FrontServer) -> None:
        """Serve until stopped, or until another program has the name."""
        if not await self._start(front, self._stop):
            return
        try:
            self._listening(front.address)
            await self._membership.move(self._config.advertise or called(front.address))
            primaries = PrimaryWatch(LedgerPlace.parse(self._config.ledger))
            looking = in_background(primaries.run, "looking for other servers of the ledger")
            watching = self._membership.watch(lambda fleet: front.see(fleet, primaries.trouble))
            try:
                await unless(self._stop, watching)
            finally:
                looking.cancel()
        finally:
            await front.stop()
