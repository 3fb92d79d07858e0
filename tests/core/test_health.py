"""The gRPC health service of a core: what anyone may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from h2.connection import H2Connection
from h2.events import ResponseReceived
from h2.settings import SettingCodes, Settings

from sessiongate.core import server
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.runtime.limits import CoreLimits
from sessiongate.v1.service_names import (
    HISTORY_SERVICE,
    SERVICES,
    SESSION_SERVICE,
    SOURCE_SERVICE,
)
from tests.core.sources import ScriptedSource
from tests.servers import PATIENCE

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def run(
    test: Callable[[Core, ScriptedSource, Any], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    limits: CoreLimits | None = None,
) -> None:
    """Run a core whose only source answers when a test says so; with a client of its health."""

    async def main() -> None:
        source = ScriptedSource()
        monkeypatch.setattr(server, "open_source", lambda _: source)
        config = CoreConfig(
            sources=(SourceConfig.parse("scripted:"),),
            grpc="127.0.0.1:0",
            grace=0.0,
            limits=limits or CoreLimits(),
        )
        async with (
            asyncio.timeout(PATIENCE),
            Core(config) as core,
            grpc.aio.insecure_channel(core.address) as channel,
        ):
            await test(core, source, HealthStub(channel))

    asyncio.run(main())


async def stalled_watch(core: Core) -> asyncio.StreamWriter:
    """Begin a watch whose reader never makes room for anything, not even once."""
    host, _, port = core.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = H2Connection()
    connection.local_settings = Settings(initial_values={SettingCodes.INITIAL_WINDOW_SIZE: 0})
    connection.initiate_connection()
    request = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Watch",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    connection.send_headers(1, list(request.items()))
    connection.send_data(1, bytes(5), end_stream=True)
    begun = False
    while not begun:
        writer.write(connection.data_to_send())
        events = connection.receive_data(await reader.read(65536))
        begun = any(isinstance(event, ResponseReceived) for event in events)
    return writer


def test_each_service_has_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: Any = health_pb2  # its stubs lack some

    async def test(core: Core, source: ScriptedSource, health: Any) -> None:
        watch = health.Watch(HealthCheckRequest())
        for status in (NOT_SERVING, SERVING):
            assert (await watch.read()).status == status
            for service in ("", *SERVICES):
                answer = await health.Check(HealthCheckRequest(service=service))
                assert answer.status == status
            listed = await health.List(messages.HealthListRequest())
            assert {name: found.status for name, found in listed.statuses.items()} == {
                "": status,
                SESSION_SERVICE: status,
                SOURCE_SERVICE: status,
                HISTORY_SERVICE: status,
            }
            await source.step()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(HealthCheckRequest(service="another"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        unknown = await health.Watch(HealthCheckRequest(service="another")).read()
        assert unknown.status == HealthCheckResponse.SERVICE_UNKNOWN

    run(test, monkeypatch)


def test_a_reader_that_takes_nothing_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(core: Core, source: ScriptedSource, health: Any) -> None:
        stalled = await stalled_watch(core)
        watch = health.Watch(HealthCheckRequest())
        assert (await watch.read()).status == NOT_SERVING
        await source.step()
        assert (await watch.read()).status == SERVING
        await core.stop()  # even while the reader stalls
        stalled.close()

    run(test, monkeypatch)


def test_streams_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(core: Core, source: ScriptedSource, health: Any) -> None:
        watches = [health.Watch(HealthCheckRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Watch(HealthCheckRequest()).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(test, monkeypatch, CoreLimits(max_watchers=2))
