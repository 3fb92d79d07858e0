"""A core's reports on itself: metrics, logs under the caller's id, and its limits."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from sessiongate.core import server
from sessiongate.core.grpc.call_counts import CallCounts
from sessiongate.core.grpc.call_log import CallLog
from sessiongate.core.grpc.hardened import grpc_server
from sessiongate.core.grpc.interceptor import MethodHandler
from sessiongate.core.server import Core
from sessiongate.core.settings import ConfigError, CoreConfig
from sessiongate.core.sources.base import Observation, Observed, SourceConfig
from sessiongate.runtime.limits import CoreLimits
from sessiongate.runtime.listener import ListenError, listen
from sessiongate.runtime.telemetry.correlation import Correlation, current
from sessiongate.runtime.telemetry.exporter import Exporter
from sessiongate.runtime.telemetry.latency import LATENCY_BUCKETS
from sessiongate.runtime.telemetry.logs import LogLine, LogLines, LogSettings
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_pb2 import ActivityState
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    SessionFilter,
    WatchSessionsRequest,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.core.sources import ScriptedSource, seen
from tests.program import PATIENCE

SERVICE = "sessiongate.v1.SessionService"
OWN = [("grpc.use_local_subchannel_pool", 1)]  # a connection that no other channel shares
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Scene:
    """A core with one scripted source, and a client of it."""

    def __init__(self, core: Core, source: ScriptedSource, channel: grpc.aio.Channel) -> None:
        self.core = core
        self.source = source
        self.stub = SessionServiceStub(channel)
        self.health: Any = HealthStub(channel)  # its methods have no types

    async def metrics(self) -> dict[str, float]:
        """Return every sample, by its name and its labels' values."""
        exporter = self.core.exporter
        assert exporter is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(exporter.url)
        return {
            "/".join((sample.name, *sample.labels.values())): sample.value
            for metric in text_string_to_metric_families(answer.text)
            for sample in metric.samples
        }


def run(
    test: Callable[[Scene], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    limits: CoreLimits | None = None,
) -> None:
    source = ScriptedSource()
    monkeypatch.setattr(server, "open_source", lambda config: source)
    config = CoreConfig(
        sources=(SourceConfig.parse("fake:?name=one&interval=0.001"),),
        grpc="127.0.0.1:0",
        grace=0.5,
        core_metrics="127.0.0.1:0",
        limits=limits or CoreLimits(),
        logs=LogSettings(access_log=True),
    )

    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            Core(config) as core,
            grpc.aio.insecure_channel(core.address) as channel,
        ):
            await test(Scene(core, source, channel))

    asyncio.run(main())


def test_sources_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        before = await scene.metrics()
        assert before["sessiongate_source_reachable/one"] == 0
        assert "sessiongate_source_age_seconds/one" not in before
        scene.source.show(["a", "b"])
        await scene.source.step()
        whole = await scene.metrics()
        assert whole["sessiongate_source_partial/one"] == 0
        written = whole["sessiongate_ledger_call_duration_seconds_count"]
        scene.source.again = Observation((seen("a"), seen("b")), partial="a process is hidden")
        await scene.source.step()
        scene.source.again = None
        assert (await scene.metrics())["sessiongate_source_partial/one"] == 1
        scene.source.failing = "gone"
        await scene.source.step()
        after = await scene.metrics()
        assert after["sessiongate_sessions/one"] == 2
        assert after["sessiongate_source_reachable/one"] == 0
        assert 0 <= after["sessiongate_source_age_seconds/one"] < 30
        assert after["sessiongate_source_observation_seconds_count/one"] == 2
        assert after["sessiongate_source_observation_seconds_sum/one"] > 0
        assert after["sessiongate_source_failures_total/one"] == 1
        assert after["sessiongate_source_partial/one"] == 0, "it is unreachable"
        assert after["sessiongate_ledger_call_duration_seconds_count"] >= written >= 1
        assert after["sessiongate_ledger_failures_total"] == 0
        assert after["sessiongate_ledger_busy_seconds"] < 30
        assert after["sessiongate_revision"] == scene.core.table.revision
        assert after["process_resident_memory_bytes/core"] > 1_000_000

    run(test, monkeypatch)


def test_what_sessions_are_doing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def doing(key: str, state: ActivityState, began: float = 0.0, *blockers: str) -> Observed:
        session = seen(key).session
        session.activity.state = state
        if began:
            session.activity.transaction_start_time.FromNanoseconds(int(began * 1e9))
            session.activity.since_time.FromNanoseconds(int((began + 10) * 1e9))
        return Observed(key, session, blocked_by=blockers)

    async def counts(scene: Scene, *items: Observed) -> dict[str, float]:
        scene.source.again = Observation(items)
        await scene.source.step()
        found = await scene.metrics()
        names = ["sessions_by_activity", "blocked_sessions"]
        names += ["longest_blocked_seconds", "longest_transaction_seconds"]
        return {
            name.removeprefix("sessiongate_").replace("/one", ""): value
            for name, value in found.items()
            if name.removeprefix("sessiongate_").partition("/")[0] in names
        }

    async def test(scene: Scene) -> None:
        assert await counts(scene, seen("a")) == {"sessions_by_activity/unknown": 1}
        now = time.time()
        blocker = doing("b", ActivityState.ACTIVITY_STATE_IDLE_IN_TRANSACTION, now - 100)
        waiting = doing("c", ActivityState.ACTIVITY_STATE_WAITING, now - 50, "b")
        found = await counts(scene, seen("a"), blocker, waiting)
        assert 100 <= found.pop("longest_transaction_seconds") < 130
        assert 40 <= found.pop("longest_blocked_seconds") < 70
        assert {name: count for name, count in found.items() if count} == {
            "sessions_by_activity/unknown": 1,
            "sessions_by_activity/idle in transaction": 1,
            "sessions_by_activity/waiting": 1,
            "blocked_sessions": 1,
        }
        assert len(found) == 2 + len(ACTIVITY_WORDS)
        idle = doing("c", ActivityState.ACTIVITY_STATE_IDLE)
        found = await counts(scene, idle)
        assert {name: count for name, count in found.items() if count} == {
            "sessions_by_activity/idle": 1
        }
        assert await counts(scene) == {}

    run(test, monkeypatch)


def test_calls_are_counted_by_code_and_streams_as_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await scene.stub.GetSession(GetSessionRequest(id=1))
        await scene.source.step()
        await scene.stub.ListSessions(ListSessionsRequest())
        await scene.stub.ListSessions(ListSessionsRequest())
        for request in (GetSessionRequest(id=7), GetSessionRequest()):
            with pytest.raises(grpc.aio.AioRpcError):
                await scene.stub.GetSession(request)
        await scene.health.Check(HealthCheckRequest())
        name = "sessiongate_grpc_call_duration_seconds_count"
        assert {
            key.removeprefix(name): value
            for key, value in (await scene.metrics()).items()
            if key.startswith(name)
        } == {
            f"/OK/{SERVICE}/ListSessions": 2,
            f"/UNAVAILABLE/{SERVICE}/GetSession": 1,
            f"/NOT_FOUND/{SERVICE}/GetSession": 1,
            f"/INVALID_ARGUMENT/{SERVICE}/GetSession": 1,
            "/OK/grpc.health.v1.Health/Check": 1,
        }
        shown = await scene.metrics()
        buckets = [
            value
            for key, value in shown.items()
            if "seconds_bucket/OK/" in key and key.endswith("/ListSessions")
        ]
        assert buckets == sorted(buckets)
        assert (len(buckets), buckets[-1]) == (len(LATENCY_BUCKETS) + 1, 2)
        took = shown[f"sessiongate_grpc_call_duration_seconds_sum/OK/{SERVICE}/ListSessions"]
        assert 0 < took < PATIENCE
        watch = scene.stub.WatchSessions(WatchSessionsRequest())
        await watch.read()
        assert (await scene.metrics())["sessiongate_watchers"] == 1
        watch.cancel()
        ended = f"sessiongate_grpc_streams_ended_total/CANCELLED/{SERVICE}/WatchSessions"
        shown = await scene.metrics()
        while shown.get(ended) != 1:
            shown = await scene.metrics()
        assert shown["sessiongate_watchers"] == 0

    run(test, monkeypatch)


def logged_calls(caplog: pytest.LogCaptureFixture) -> list[LogLine]:
    """Return the lines of the call log."""
    records = [record for record in caplog.records if isinstance(record, LogLines)]
    return [line for record in records for line in record.lines]


def test_a_call_is_logged_under_the_id_that_came_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Correlation | None] = []

    class Note(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(current.get())
            return True

    async def test(scene: Scene) -> None:
        await scene.source.step()
        metadata = (("x-request-id", "abc"), ("traceparent", TRACE))
        await scene.stub.ListSessions(ListSessionsRequest(), metadata=metadata)
        monkeypatch.setattr(scene.core.table, "row", None)  # a fault of the core itself
        with pytest.raises(grpc.aio.AioRpcError):
            await scene.stub.GetSession(GetSessionRequest(id=1), metadata=metadata)
        monkeypatch.undo()

    caplog.handler.addFilter(Note())
    with caplog.at_level(logging.INFO, "core.access"):
        run(test, monkeypatch)
    ours = Correlation("abc", TRACE)
    told = [
        (record.getMessage(), correlation)
        for record, correlation in zip(caplog.records, seen, strict=True)
    ]
    assert ("GetSession failed", ours) in told
    told = [(line.message, line.correlation) for line in logged_calls(caplog)]
    assert (f"{SERVICE}/ListSessions OK", ours) in told
    assert (f"{SERVICE}/GetSession INTERNAL", ours) in told


def test_a_call_that_ends_only_once_the_log_is_closed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def waits(request: bytes, context: object) -> bytes:
            began.set()
            try:
                return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]
            finally:
                ended.set()

        calls = CallLog(CallCounts(), access_log=True)
        stopping = grpc_server([calls], [])
        handler: MethodHandler = grpc.unary_unary_rpc_method_handler(waits)
        stopping.add_registered_method_handlers("s", {"waits": handler})
        port = stopping.add_insecure_port("127.0.0.1:0")
        await stopping.start()
        channel: Any  # without types: its calls take bytes
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", OWN) as channel:
            call = channel.unary_unary("/s/waits")(b"")
            await began.wait()
            await stopping.stop(0)
            calls.close()
            await ended.wait()
            assert [line.message for line in logged_calls(caplog)] == ["s/waits CANCELLED"]
            assert await call.code() is not grpc.StatusCode.OK

    with caplog.at_level(logging.INFO, "core.access"):
        asyncio.run(main())


def test_one_caller_may_have_so_many_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        await scene.source.step()
        watches = [scene.stub.WatchSessions(WatchSessionsRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.stub.WatchSessions(WatchSessionsRequest()).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.value.details() == ("2 streams are open; max_watchers allows no more")
        watches[0].cancel()
        while (await scene.metrics())["sessiongate_watchers"] > 1:
            pass
        await scene.stub.WatchSessions(WatchSessionsRequest()).read()

    run(test, monkeypatch, CoreLimits(max_watchers=2))


def test_one_connection_may_have_so_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        await scene.source.step()
        watches = [scene.stub.WatchSessions(WatchSessionsRequest()) for _ in range(2)]
        for watch in watches:
            await watch.read()
        waiting = asyncio.ensure_future(scene.stub.ListSessions(ListSessionsRequest()))
        async with grpc.aio.insecure_channel(scene.core.address, OWN) as other:
            for _ in range(10):
                await SessionServiceStub(other).ListSessions(ListSessionsRequest())
        assert not waiting.done()
        watches[0].cancel()
        await waiting

    run(test, monkeypatch, CoreLimits(max_calls=2))


def test_so_many_connections_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        await scene.source.step()
        watch = scene.stub.WatchSessions(WatchSessionsRequest())
        await watch.read()
        async with grpc.aio.insecure_channel(scene.core.address, OWN) as second:
            await SessionServiceStub(second).ListSessions(ListSessionsRequest())
            async with grpc.aio.insecure_channel(scene.core.address, OWN) as third:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await SessionServiceStub(third).ListSessions(ListSessionsRequest())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await watch.read()

    run(test, monkeypatch, CoreLimits(max_core_connections=2))


def test_a_request_may_be_so_large(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(scene: Scene) -> None:
        await scene.source.step()
        small, large = (
            ListSessionsRequest(filter=SessionFilter(services=["x" * size])) for size in (500, 1500)
        )
        await scene.stub.ListSessions(small)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await scene.stub.ListSessions(large)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(test, monkeypatch, CoreLimits(max_message=1000))


def test_an_address_for_metrics_in_use_ends_the_core() -> None:
    with listen("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        source = SourceConfig.parse("host:")
        config = CoreConfig(sources=(source,), grpc="127.0.0.1:0", core_metrics=address)
        with pytest.raises(ListenError, match=f"cannot listen on {address}"):
            asyncio.run(Core(config).start())


def test_a_core_that_does_not_start_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Exporter) -> None:
        raise OSError("no more threads")

    async def main() -> None:
        config = CoreConfig(
            sources=(SourceConfig.parse("host:"),),
            grpc="127.0.0.1:0",
            ledger=f"sqlite:///{tmp_path}/ledger.db",
            core_metrics="127.0.0.1:0",
            grace=0.0,
        )
        with monkeypatch.context() as patched:
            patched.setattr(Exporter, "start", fail)
            with pytest.raises(OSError, match="no more threads"):
                await Core(config).start()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        async with Core(config):  # the ledger is free
            pass

    asyncio.run(main())


def test_a_unix_socket_that_another_core_listens_on_is_left_to_it(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/core.sock"
    config = CoreConfig(sources=(SourceConfig.parse("synthetic:?sessions=3"),), grpc=address)

    async def main() -> None:
        async with Core(config) as first, grpc.aio.insecure_channel(address) as channel:
            await first.table.ready.wait()
            with pytest.raises(ListenError, match=f"cannot listen on {address}"):
                await Core(config).start()
            stub = SessionServiceStub(channel)
            assert len((await stub.ListSessions(ListSessionsRequest())).sessions) == 3
        async with Core(config):  # whose socket was left behind
            pass

    asyncio.run(main())


def test_groups_of_settings_are_read_and_refused_by_name() -> None:
    text = '{"max_watchers": 5, "log_level": "debug"}'
    config = CoreConfig.from_json(text)
    assert config.limits == CoreLimits(max_watchers=5)
    assert config.logs == LogSettings(log_level="debug")
    for bad, said in (
        ('{"max_watchers": 0}', "max_watchers: must be an integer of at least 1, got 0"),
        ('{"grpc": "nowhere"}', "grpc: must be HOST:PORT"),
        ('{"stale_after": "soon"}', "stale_after: must be a number of seconds"),
        ('{"source": []}', "source: "),
        ('{"source": [5]}', "source: must be a URL"),
        ('{"log_form": "json"}', "unknown key 'log_form'"),
        ('{"limits": {}}', "unknown key 'limits'"),
    ):
        with pytest.raises(ConfigError, match=said):
            CoreConfig.from_json(bad)


def test_the_program_logs_as_it_is_told_to() -> None:
    settings = {"grpc": "127.0.0.1:0", "exit_on_eof": True, "core_metrics": "127.0.0.1:0"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sessiongate.core"],
        input=json.dumps({**settings, "log_format": "json"}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["program"] for line in lines} == {"core"}
    assert any("metrics at http://127.0.0.1:" in line["message"] for line in lines)
