"""The gRPC server of a core that stands by; it makes room for the real one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE

from sessiongate.core.errors import CoreStandbyError
from sessiongate.core.fleet.directory import ActiveCore
from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.health import Health
from sessiongate.core.grpc.reflection import add_reflection
from sessiongate.core.grpc.standby_service import add_refusals
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.listener import CoreListener
from sessiongate.core.settings import CoreConfig
from sessiongate.v1.service_names import SERVICES, SESSION_ACTION_SERVICE

if TYPE_CHECKING:  # else imported when used: Prometheus's library is slow to import
    from prometheus_client.registry import Collector as MetricCollector

    from sessiongate.runtime.telemetry.exporter import Exporter

log = logging.getLogger(__name__)


class StandbyServer:
    """Answers NOT_SERVING, and every call with who is active, from `open` to the block's end."""

    def __init__(self, config: CoreConfig, metrics: Sequence[MetricCollector] = ()) -> None:
        """Show ``metrics`` where the core would show its own."""
        self._config, self._metrics = config, metrics
        self._exporter: Exporter | None = None
        self._listener: CoreListener | None = None
        self.active: ActiveCore | None = None  # as far as is known
        self.trouble = ""  # why this core cannot become active itself

    @property
    def is_open(self) -> bool:
        """Whether calls are answered."""
        return self._listener is not None

    async def open(self) -> str:
        """Listen where the core would; return the address. Raises `ListenError`."""
        config = self._config
        listener = CoreListener(config, CallCounts())
        services: tuple[str, ...] = SERVICES
        if config.can_act:
            from sessiongate.v1 import session_action_service_pb2  # noqa: F401 - registers it

            services = (*services, SESSION_ACTION_SERVICE)
        add_refusals(services, listener.server, self._refusal)
        streams = StreamQuota(config.limits.max_watchers)
        health_pb2_grpc.add_HealthServicer_to_server(Health(services, streams), listener.server)
        if config.reflection:
            add_reflection((*services, HEALTH_SERVICE), listener.server)
        address = listener.open()
        await listener.server.start()
        self._listener = listener
        if config.core_metrics is not None:
            from sessiongate.runtime.telemetry.exporter import Exporter
            from sessiongate.runtime.telemetry.metrics import ProcessCollector, registry

            processes = ProcessCollector(lambda: {"core": os.getpid()})
            shown = registry(*self._metrics, processes)
            self._exporter = Exporter(config.core_metrics, shown, config.protection)
            await self._exporter.start()
            log.info("metrics at %s", self._exporter.url)
        return address

    def _refusal(self) -> CoreStandbyError:
        shard, active = self._config.shard_name, self.active
        if active is None:
            text = f"this core stands by for the shard {shard}; the active core is not known now"
            if self.trouble:
                text = f"{text}; {self.trouble}"
            return CoreStandbyError(text, shard=shard)
        return CoreStandbyError(
            f"this core stands by for the shard {shard}; {active.shown} is active",
            shard=shard,
            active=active.name,
            address=active.address or "",
        )

    async def __aenter__(self) -> StandbyServer:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._exporter is not None:
            await self._exporter.stop()
        if self._listener is not None:
            await self._listener.stop(None)  # there is nothing to finish
            self._listener.close()
