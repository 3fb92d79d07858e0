"""A running front: a core whose table shows what the active cores of a fleet state."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack

import grpc

from sessiongate.core.fleet.directory import ActiveCore, Fleet
from sessiongate.core.follow.calling import connecting
from sessiongate.core.follow.fleet_state import FleetState
from sessiongate.core.follow.follower import CoreToFollow
from sessiongate.core.follow.front import Front
from sessiongate.core.follow.lookup import Lookup
from sessiongate.core.grpc.fleet_service import FleetService
from sessiongate.core.grpc.service import SessionService
from sessiongate.core.ledger.base import PastLedger
from sessiongate.core.ledger.postgresql.reading import ReadLedger
from sessiongate.core.server import Core, moment_now
from sessiongate.core.settings import CoreConfig
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.fleet_service_pb2_grpc import add_FleetServiceServicer_to_server
from sessiongate.v1.service_names import FLEET_SERVICE, SESSION_ACTION_SERVICE

log = logging.getLogger(__name__)


class FrontServer(Core):
    """A front from `start` to `stop`; `see` gives it the members of the fleet."""

    def __init__(self, config: CoreConfig, ledger: ReadLedger) -> None:
        """Read from ``ledger``, and close it at the end."""
        super().__init__(config)
        self._ledger = ledger
        self._unused_since: dict[str, float] = {}  # by shard that is shown still, on `elapsed`

    async def _open(self, closing: AsyncExitStack) -> PastLedger:
        config, ledger = self._config, self._ledger
        closing.push_async_callback(ledger.close)
        self.table = SessionTable((), await ledger.ceiling(), moment_now)
        connect = connecting(
            *(config.core_tls, config.core_token_path),
            open_to_all=config.protection.insecure_actions,
        )
        self._front = Front(
            *(self.table, connect),
            stale_after=config.stale_after,
            max_session=config.limits.max_session,
        )
        self._filler = self._front
        if config.core_metrics is not None:
            from sessiongate.core.front_metrics import FrontMetrics

            self._more_metrics = (FrontMetrics(self._front),)
        self._lookup = Lookup(self.table, ledger.one)
        self._state = FleetState(config.core_name, self._front)
        return ledger

    def see(self, fleet: Fleet, trouble: str = "") -> None:
        """Follow the cores that are active now; state what is wrong with the ledger."""
        self._state.trouble = trouble
        self._state.note(fleet, time.time_ns())
        used = {shard.name: shard for shard in fleet.used_shards}
        cores = {name: _to_follow(shard.active) for name, shard in used.items()}
        # Shards that nobody has any longer, or of a ledger that has lost its tables.
        now = elapsed()
        unused = self._front.shards.keys() - used.keys()
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}
        for name, since in self._unused_since.items():
            if now - since < self._config.stale_after:
                cores[name] = "the ledger has neither cores nor sources of it"
        self._front.follow(cores, {name: shard.sources for name, shard in used.items()})

    def _session_service(self) -> SessionService:
        return SessionService(self.table, self.watchers, self._lookup.missing)

    def _add_more(self, server: grpc.aio.Server) -> tuple[str, ...]:
        add_FleetServiceServicer_to_server(FleetService(self._state), server)
        return (FLEET_SERVICE, *self._add_actions(server))

    def _add_actions(self, server: grpc.aio.Server) -> tuple[str, ...]:
        config = self._config
        if not config.can_act:
            return ()
        from sessiongate.core.follow.acting import ForwardedActions
        from sessiongate.core.follow.refusals import Refusals
        from sessiongate.core.grpc.forwarding_service import ForwardingActionService, refusal_of
        from sessiongate.v1.session_action_service_pb2_grpc import (
            add_SessionActionServiceServicer_to_server,
        )

        refusals = Refusals(self._audit_log(), config.limits.max_actions)
        actions = ForwardedActions(self.table, self._front, self._lookup, refusal_of, refusals)
        insecure = config.protection.insecure_actions
        service = ForwardingActionService(actions, insecure=insecure)
        add_SessionActionServiceServicer_to_server(service, server)
        return (SESSION_ACTION_SERVICE,)


def _to_follow(active: ActiveCore | None) -> CoreToFollow | str:
    """Return how to follow the active core of a shard, or why that cannot be done."""
    if active is None:
        return "no core is active"
    if active.address is None:
        return f"{active.name} is active, and does not say where it can be called"
    return CoreToFollow(active.name, active.address, active.instance)
