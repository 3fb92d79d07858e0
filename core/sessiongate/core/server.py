"""A running core, assembled from ledger, table, collector and gRPC server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE

from sessiongate.core.collect.collector import Collector
from sessiongate.core.collect.first_reads import FirstReads
from sessiongate.core.collect.scopes import Scopes
from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.health import Health
from sessiongate.core.grpc.history_service import HistoryService
from sessiongate.core.grpc.reflection import add_reflection
from sessiongate.core.grpc.service import SessionService
from sessiongate.core.grpc.source_service import SourceService
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.history.history import History
from sessiongate.core.ledger.base import Ledger, PastLedger
from sessiongate.core.ledger.opening import open_ledger
from sessiongate.core.listener import CoreListener
from sessiongate.core.settings import ConfigError, CoreConfig
from sessiongate.core.sources.base import (
    Source,
    SourceConfig,
    SourceConfigError,
    open_source,
)
from sessiongate.core.table.table import SessionTable
from sessiongate.core.table_filler import TableFiller
from sessiongate.runtime.background import in_background
from sessiongate.runtime.telemetry.tracing import open_spans
from sessiongate.runtime.urls import is_in_postgresql
from sessiongate.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server
from sessiongate.v1.service_names import SERVICES, SESSION_ACTION_SERVICE
from sessiongate.v1.source_service_pb2_grpc import add_SourceServiceServicer_to_server

if TYPE_CHECKING:  # else imported when used: Prometheus's library is slow to import
    from prometheus_client.registry import Collector as MetricCollector

    from sessiongate.core.actions.actions import Actions
    from sessiongate.core.actions.audit import AuditLog
    from sessiongate.core.collect.observer import Standby
    from sessiongate.runtime.telemetry.exporter import Exporter
    from sessiongate.runtime.telemetry.spans import Spans

log = logging.getLogger(__name__)


LEDGER_INTERVAL = 0.5  # seconds between two checks of the ledger's file

_SET_BACK = 24 * 3600 * 10**6  # microseconds: if a clock is set back further, do not wait for it


class Core:
    """A core from `start` to `stop`; also an async context manager of both.

    Health answers NOT_SERVING until every source has answered or failed once.
    """

    def __init__(
        self,
        config: CoreConfig,
        ledger: Ledger | None = None,
        metrics: Sequence[MetricCollector] = (),
        first_reads: FirstReads | None = None,
        standby: Standby | None = None,
    ) -> None:
        """Use ``ledger``, which is open, and close it at the end; else open the configured one.

        Show ``metrics`` beside the core's own. Ask ``first_reads`` before a source is read for
        the first time. Go on with what ``standby`` has: open sources, in place of the configured
        ones of their names, and the warm table.
        """
        self._first_reads = first_reads
        self._config = config
        self._given, self._more_metrics = ledger, metrics
        self._standby = standby
        self._written: Ledger | None = None  # the ledger, if this core writes to it
        self._ledger_name = ""
        self.address = config.grpc  # the real port once started
        self._calls = CallCounts()
        self.watchers = StreamQuota(config.limits.max_watchers)
        self._filler: TableFiller
        self.exporter: Exporter | None = None
        self.actions: Actions | None = None
        self._spans: Spans | None = None
        self.ledger_lost = asyncio.Event()  # its file was removed: ids are no longer stored

    async def start(self) -> None:
        """Start. Raises `ConfigError`, `LedgerError`, `FileError` or `ListenError`.

        After an error nothing is left running.
        """
        async with AsyncExitStack() as closing:  # `stop` needs the reverse order
            self._spans = open_spans("core")
            if self._spans is not None:
                closing.callback(self._spans.close)
            closing.push_async_callback(self._close_standby)
            ledger = await self._open(closing)
            closing.push_async_callback(self._filler.close)
            history = History(ledger, self.table, self._filler.observed, time.time_ns)
            self._ledger_name = ledger.identity
            server = self._listen(history)
            closing.callback(self._listener.close)
            if self.actions is not None:
                closing.push_async_callback(self.actions.close)
            closing.push_async_callback(self._drain)
            self.exporter = self._open_exporter()
            if self.exporter is not None:
                closing.push_async_callback(self.exporter.stop)
            await server.start()  # a front can copy the warm table while the ledger is read
            await self._filler.start()
            if self.exporter is not None:
                await self.exporter.start()
                closing.enter_context(self._lag.sampling())
                log.info("metrics at %s", self.exporter.url)
            readiness = asyncio.create_task(self._announce())
            closing.callback(readiness.cancel)
            self._closing = closing.pop_all()

    def _trace(self, ledger: Ledger, spans: Spans) -> None:
        """Record spans of what happens beside calls."""
        from sessiongate.core.tracing import trace_observations, trace_writes

        kind = "sqlite" if self._config.ledger.startswith("sqlite:") else "postgresql"
        trace_writes(ledger, kind, spans)
        for source in self._config.sources:
            trace_observations(self._collector.runner(source.name), source.kind, spans)

    async def _open(self, closing: AsyncExitStack) -> PastLedger:
        """Open the ledger, make the table and what will fill it; return the ledger."""
        config = self._config
        if self._given is not None:
            closing.push_async_callback(self._given.close)
        standby = self._standby
        given = () if standby is None else standby.sources
        opened = {each.config.name: (each.config, each.source) for each in given}
        sources = open_sources(config, opened)
        ledger = self._given
        if ledger is None:
            ledger = await open_ledger(
                config.ledger,
                policy=config.policy,
                now=time.time_ns,
                again=config.again,
            )
            closing.push_async_callback(ledger.close)
        self._written = ledger
        now, latest = time.time_ns() // 1000, await ledger.latest_time()
        ceiling = await ledger.ceiling()
        warm = None if standby is None else standby.warm
        if warm is not None and warm.start.revision != ceiling:
            warm = None  # it was for another start
        if warm is not None:
            self.table = warm.table
            log.info("going on with %d sessions that were read while standing by", len(self.table))
        else:
            # A start in a shard has its revisions; those of other ledgers were times once.
            revision = max(now, ceiling) if standby is None else ceiling
            await ledger.reserve(revision)
            names = (source.name for source in config.sources)
            self.table = SessionTable(names, revision, moment_now)
        # If the clock was set back since the last write, times continue from there; not if it
        # was so wrong that they would not advance for long.
        if now < latest <= now + _SET_BACK:
            self.table.report_since(latest)
        self._filler = self._collector = Collector(
            self.table,
            ledger,
            sources,
            stale_after=config.stale_after,
            now=time.time_ns,
            max_session=config.limits.max_session,
            scopes=Scopes(config.network) if is_in_postgresql(config.ledger) else None,
            first_reads=self._first_reads,
            warm=warm,
        )
        self._standby = None  # the collector closes its sources
        if self._spans is not None:
            self._trace(ledger, self._spans)
        watch = in_background(partial(self._watch, ledger), "watching the ledger")
        closing.callback(watch.cancel)
        return ledger

    async def _close_standby(self) -> None:
        """Close the sources that no collector has: the start has failed before."""
        standby, self._standby = self._standby, None
        if standby is not None:
            await standby.close()

    def _listen(self, history: History) -> grpc.aio.Server:
        """Open the addresses; return the server, which is not started yet."""
        config = self._config
        self._listener = CoreListener(config, self._calls, self._spans)
        server = self._listener.server
        self._session_service().add_to(server)
        streams = StreamQuota(config.limits.max_watchers)
        services = (*SERVICES, *self._add_more(server))
        self._health = Health(services, streams)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_SourceServiceServicer_to_server(SourceService(self._filler, self._ledger_name), server)
        add_HistoryServiceServicer_to_server(HistoryService(history), server)
        if config.reflection:
            add_reflection((*services, HEALTH_SERVICE), server)
        self.address = self._listener.open()
        return server

    def _session_service(self) -> SessionService:
        return SessionService(self.table, self.watchers)

    def _add_more(self, server: grpc.aio.Server) -> tuple[str, ...]:
        """Serve what not every core serves; return the names of these services."""
        return self._add_actions(server)

    def _add_actions(self, server: grpc.aio.Server) -> tuple[str, ...]:
        """Serve SessionActionService if there is something to act on; return the added names."""
        config = self._config
        if not config.can_act:
            return ()
        from sessiongate.core.actions.actions import Actions
        from sessiongate.core.grpc.action_service import SessionActionService
        from sessiongate.v1.session_action_service_pb2_grpc import (
            add_SessionActionServiceServicer_to_server,
        )

        audit, per_minute = self._audit_log(), config.limits.max_actions
        self.actions = Actions(self.table, self._collector, audit, per_minute=per_minute)
        insecure = config.protection.insecure_actions
        service = SessionActionService(self.actions, insecure=insecure)
        add_SessionActionServiceServicer_to_server(service, server)
        return (SESSION_ACTION_SERVICE,)

    def _audit_log(self) -> AuditLog:
        """Return the audit log. Raises `FileError` if it cannot be written."""
        from sessiongate.core.actions.audit import AuditLog

        path = self._config.audit_log
        audit = AuditLog(None if path is None else Path(path))
        audit.check()
        return audit

    def _open_exporter(self) -> Exporter | None:
        """Return the exporter of metrics, if configured. Raises `ListenError`."""
        if self._config.core_metrics is None:
            return None
        from sessiongate.core.metrics import core_registry
        from sessiongate.runtime.telemetry.exporter import Exporter
        from sessiongate.runtime.telemetry.loop_lag import LoopLag

        outcomes = None if self.actions is None else self.actions.outcomes
        shown = core_registry(
            *(self._calls, self.table, self.watchers, self._filler, self._written, outcomes),
            more=self._more_metrics,
        )
        self._lag = LoopLag("core", shown)
        return Exporter(self._config.core_metrics, shown, self._config.protection)

    async def _announce(self) -> None:
        """Report the core as serving once it becomes ready."""
        await self.table.ready.wait()
        self._health.set(serving=True)
        log.info("ready: %d sessions", len(self.table))

    async def _watch(self, ledger: Ledger) -> None:
        """Detect when the ledger is no longer the one being written to."""
        while not self.ledger_lost.is_set():
            await asyncio.sleep(LEDGER_INTERVAL)
            if not await ledger.is_in_place():
                log.error("the ledger was removed, replaced or used by another core")
                self.ledger_lost.set()

    async def _drain(self) -> None:
        """Accept no more calls, and give calls in progress their grace period."""
        self._health.set(serving=False)
        self.table.log.close()
        await self._listener.stop(self._config.grace)

    async def stop(self) -> None:
        """Accept no more calls, give those in progress their grace, and release everything."""
        await self._closing.aclose()

    async def __aenter__(self) -> Core:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def open_sources(
    config: CoreConfig,
    opened: Mapping[str, tuple[SourceConfig, Source]] = MappingProxyType({}),
) -> list[tuple[SourceConfig, Source]]:
    """Open the configured sources but those ``opened`` already, by name. Raises `ConfigError`."""
    try:
        return [
            opened.get(source.name) or (_effective(source, config), open_source(source))
            for source in config.sources
        ]
    except SourceConfigError as error:
        raise ConfigError(str(error), "source") from None


def _effective(source: SourceConfig, config: CoreConfig) -> SourceConfig:
    """Return a source, without its actions if nobody may do them."""
    if not source.actions or config.can_act:
        return source
    log.warning(
        "source %s: its actions have no effect, because nobody is an operator; give callers that"
        " role by --operators or --operator-claim",
        source.name,
    )
    return replace(source, actions=frozenset())


def moment_now() -> Timestamp:
    """Return the present moment."""
    seconds, nanos = divmod(time.time_ns(), 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)
