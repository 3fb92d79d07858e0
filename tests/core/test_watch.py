"""WatchSessions over a real channel: the servicer over a table, or a whole core."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.core.grpc.service import SessionService
from sessiongate.core.grpc.stream_quota import StreamQuota
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.core.table import watcher as watching
from sessiongate.core.table.table import SessionTable
from sessiongate.runtime.elapsed import elapsed
from sessiongate.v1.errors import STATUS_TRAILER
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    GetSessionRequest,
    ListSessionsRequest,
    ListSessionsResponse,
    SessionFilter,
    WatchSessionsRequest,
    WatchSessionsResponse,
)
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.core.copies import Copy
from tests.servers import PATIENCE

MIB = 1024 * 1024
# A window that does not grow, so that a stopped reader is noticed at once.
NARROW = [("grpc.http2.bdp_probe", 0)]
Call: TypeAlias = grpc.aio.UnaryStreamCall[WatchSessionsRequest, WatchSessionsResponse]


def make(*ids: int, service: str = "app", **fields: str) -> list[Session]:
    return [Session(id=ident, service=service, **fields) for ident in ids]  # type: ignore[arg-type] # str fields only


class Watch:
    """A call of WatchSessions, and the copy made from it."""

    def __init__(self, stub: Any, copy: Copy | None = None, **request: Any) -> None:
        self.copy = copy or Copy()
        self.call: Call = stub.WatchSessions(WatchSessionsRequest(**request))

    @property
    def ids(self) -> list[int]:
        return sorted(self.copy.sessions)

    async def next(self) -> WatchSessionsResponse:
        message = await self.call.read()
        assert isinstance(message, WatchSessionsResponse), "the stream ends with an error status"
        self.copy.apply(message)
        return message

    async def until(self, kind: str) -> WatchSessionsResponse:
        while True:
            message = await self.next()
            if message.WhichOneof("event") == kind:
                return message

    async def error(self) -> tuple[grpc.StatusCode, str]:
        """Return the status and reason that the call ends with, after the remaining messages."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.until("an end")
        trailers: dict[str, Any] = dict(caught.value.trailing_metadata() or ())
        info = ErrorInfo()
        Status.FromString(trailers[STATUS_TRAILER]).details[0].Unpack(info)
        return caught.value.code(), info.reason


def handlers() -> list[asyncio.Task[Any]]:
    """Return the tasks of this process's servers that run WatchSessions."""
    return [task for task in asyncio.all_tasks() if "WatchSessions" in task.get_name()]


class Line:
    """A relay to a local port that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Line:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.address = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    def cut(self) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += writer, far_writer
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


class Scene:
    """A served table, its port, and a stub that calls it."""

    def __init__(self, table: SessionTable, port: int, stub: Any) -> None:
        self.table = table
        self.port = port
        self.stub = stub

    def watch(self, copy: Copy | None = None, **request: Any) -> Watch:
        return Watch(self.stub, copy, **request)


@asynccontextmanager
async def scene(sessions: Iterable[Session], *, ready: bool = True) -> AsyncIterator[Scene]:
    clock = iter(range(1, 1_000_000))
    table = SessionTable(["fake"], 1000, lambda: Timestamp(seconds=next(clock)))
    if ready:
        table.set_source("fake", reachable=True)
    table.apply(sessions, [])
    server = grpc.aio.server()
    SessionService(table, StreamQuota(100)).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", NARROW) as channel:
            yield Scene(table, port, SessionServiceStub(channel))
    finally:
        await server.stop(0)


def run(
    test: Callable[[Scene], Awaitable[None]],
    sessions: Iterable[Session] = (),
    *,
    ready: bool = True,
) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE), scene(sessions, ready=ready) as stage:
            await test(stage)

    asyncio.run(main())


def test_a_snapshot_in_parts_ends_with_a_sync_and_is_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "SNAPSHOT_SESSIONS", 2)

    async def test(scene: Scene) -> None:
        watch = scene.watch()
        for _ in range(3):
            assert (await watch.next()).WhichOneof("event") == "snapshot"
        sync = await watch.next()
        assert sync.WhichOneof("event") == "sync"
        assert sync.HasField("as_of")
        listed: ListSessionsResponse = await scene.stub.ListSessions(ListSessionsRequest())
        assert [watch.copy.sessions[ident] for ident in watch.ids] == list(listed.sessions)
        assert (sync.revision, sync.update_time) == (listed.revision, listed.update_time)
        assert watch.copy.sources == {"fake": True}
        assert sync.sync.sources_update_time == scene.table.sources_time

    run(test, make(1, 2, 3, 4, 9))


def test_changes_during_the_snapshot_come_before_its_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SNAPSHOT_SESSIONS", 1)
    fat = "x" * MIB  # more than the window: the parts wait for their reader

    async def test(scene: Scene) -> None:
        watch = scene.watch()
        await watch.next()
        scene.table.apply(make(1, 4, service="changed"), [2])
        changes = await watch.until("changes")
        assert [session.id for session in changes.changes.upserts] == [1]
        sync = await watch.until("sync")
        assert sync.revision == scene.table.revision
        assert watch.ids == [1, 3, 4]
        assert watch.copy.sessions[1].service == "changed"

    run(test, make(1, 2, 3, application=fat))


def test_changes_arrive_as_they_become_visible() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch()
        await watch.until("sync")
        scene.table.apply(make(2, 3, service="new"), [1, 77])
        message = await watch.until("changes")
        assert [(r.id, r.revision) for r in message.changes.removals] == [(1, 1004)]
        assert list(message.changes.upserts) == [scene.table.get(2), scene.table.get(3)]
        assert message.revision == scene.table.revision == 1006
        assert message.update_time == scene.table.update_time
        assert message.HasField("as_of")

    run(test, make(1, 2))


def test_a_filtered_watch_sees_sessions_enter_and_leave() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(filter=SessionFilter(services=["a"]))
        everything = scene.watch()
        await watch.until("sync")
        await everything.until("sync")
        assert watch.ids == [1]

        scene.table.apply(make(2, service="a"), [])
        entered = await watch.until("changes")
        assert [session.id for session in entered.changes.upserts] == [2]

        scene.table.apply(make(1, service="b"), [])
        left = await watch.until("changes")
        assert [(r.id, r.revision) for r in left.changes.removals] == [(1, scene.table.revision)]
        assert not left.changes.upserts

        scene.table.apply(make(1, 3, service="b"), [])
        scene.table.apply([], [3])
        hidden = scene.table.revision
        scene.table.apply(make(4, service="a"), [])
        message = await watch.until("changes")
        assert not message.changes.removals, "what never matched is not told of"
        assert [session.id for session in message.changes.upserts] == [4]
        assert message.revision == hidden + 1
        while everything.copy.revision < message.revision:
            await everything.next()
        assert everything.ids == [1, 2, 4], "another filter's encoding was not taken"

    run(test, [*make(1, service="a"), *make(2, service="b")])


def test_a_filter_that_is_wrong_is_named() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(filter=SessionFilter(remotes=["nowhere"]))
        assert await watch.error() == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert "filter.remotes[0]" in (await watch.call.details() or "")

    run(test)


def test_the_state_of_sources_travels_whatever_the_filter() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(filter=SessionFilter(sources=["another"]))
        await watch.until("sync")
        scene.table.set_source("fake", reachable=False, error="no route")
        message = await watch.until("changes")
        (status,) = message.changes.sources
        assert (status.name, status.reachable, status.error) == ("fake", False, "no route")
        assert message.revision == scene.table.revision
        assert message.update_time == scene.table.sources_time

    run(test, make(1))


def test_a_source_that_comes_and_goes_travels_too() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch()
        await watch.until("sync")
        scene.table.set_source("more", reachable=True)
        await watch.until("changes")
        assert watch.copy.sources == {"fake": True, "more": True}
        scene.table.remove_source("more")
        message = await watch.until("changes")
        assert message.changes.removed_sources == ["more"]
        assert watch.copy.sources == {"fake": True}
        assert message.update_time == scene.table.sources_time

    run(test, make(1))


def test_a_table_that_was_current_before_the_stream_says_so() -> None:
    async def test(scene: Scene) -> None:
        moment = elapsed() - 3
        scene.table.current_until = lambda: moment
        began = elapsed()
        sync = await scene.watch().until("sync")
        as_of = sync.as_of.ToNanoseconds() / 1e9
        assert as_of < -3
        assert began + as_of <= moment, "whoever takes the call for the beginning claims no more"

    run(test, make(1))


def test_a_resumed_watch_gets_what_it_missed_and_no_snapshot() -> None:
    async def test(scene: Scene) -> None:
        first = scene.watch()
        await first.until("sync")
        first.call.cancel()
        scene.table.apply(make(2), [1])
        scene.table.set_source("fake", reachable=False, error="gone")
        again = scene.watch(first.copy, resume_revision=first.copy.resume())
        while again.copy.revision < scene.table.revision:
            assert (await again.next()).WhichOneof("event") == "changes"
        assert again.ids == [2]
        assert again.copy.sources == {"fake": False}

    run(test, make(1))


def test_a_watch_resumed_where_nothing_changed_says_so_at_once() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(Copy(), resume_revision=scene.table.revision)
        watch.copy.revision = scene.table.revision
        assert (await watch.next()).WhichOneof("event") == "progress"

    run(test, make(1))


@pytest.mark.parametrize("revision", [1, 999, 1_000_000])
def test_a_revision_that_the_log_does_not_hold_is_out_of_range(revision: int) -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(resume_revision=revision)
        assert await watch.error() == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD")

    run(test, make(1))


def test_a_step_larger_than_a_message_comes_in_parts_which_can_be_resumed_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test(scene: Scene) -> None:
        monkeypatch.setattr(watching, "_MESSAGE_BYTES", 100)
        start = scene.table.revision
        scene.table.apply(make(*range(1, 20)), [])
        watch = scene.watch(resume_revision=start)
        watch.copy.revision = start
        first = await watch.next()
        assert start < first.revision < scene.table.revision
        assert not first.HasField("as_of"), "more follows at once"
        watch.call.cancel()
        again = scene.watch(watch.copy, resume_revision=watch.copy.resume())
        message = first
        while again.copy.revision < scene.table.revision:
            assert not message.HasField("as_of")
            message = await again.next()
        assert message.HasField("as_of")
        assert again.ids == list(range(1, 20))

    run(test)


def test_messages_stay_short_since_each_reader_that_stalls_holds_one() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch()
        sizes = []
        while not watch.copy.revision:
            sizes.append((await watch.next()).ByteSize())
        scene.table.apply(make(*range(1, 151), application="y" * 40_000), [])
        while watch.copy.revision < scene.table.revision:
            sizes.append((await watch.next()).ByteSize())
        assert max(sizes) < MIB // 4
        assert sum(sizes) > 2 * 150 * 40_000

    run(test, make(*range(1, 151), application="x" * 40_000))


def test_progress_goes_on_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PROGRESS_INTERVAL", 0.001)

    async def test(scene: Scene) -> None:
        watch = scene.watch()
        last = await watch.until("sync")
        for _ in range(3):
            message = await watch.next()
            assert message.WhichOneof("event") == "progress"
            assert message.as_of.ToNanoseconds() > last.as_of.ToNanoseconds()
            assert (message.revision, message.update_time) == (last.revision, last.update_time)
            last = message

    run(test, make(1))


def test_a_stalled_watch_holds_up_nobody_and_is_cut_off() -> None:
    async def test(scene: Scene) -> None:
        limit = 5 * MIB  # four changes, each of the old session
        scene.table.log._limit = limit
        stalled, brisk = scene.watch(), scene.watch()
        await stalled.until("sync")
        await brisk.until("sync")
        for number in range(20):
            scene.table.apply(make(number % 3 + 1, application=f"{number}" + "x" * MIB), [])
            while brisk.copy.revision < scene.table.revision:
                await brisk.next()
            assert sum(step.size for step in scene.table.log._steps) <= limit
        assert brisk.ids == [1, 2, 3]
        assert await stalled.error() == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD")
        assert stalled.copy.revision < brisk.copy.revision

    run(test)


@pytest.mark.parametrize("fat", [0, MIB])
@pytest.mark.parametrize("cut", [False, True])
def test_a_reader_that_leaves_leaves_nothing_behind(
    fat: int, cut: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(scene: Scene) -> None:
        line = Line(scene.port)
        async with line, grpc.aio.insecure_channel(line.address, NARROW) as channel:
            watches = [Watch(SessionServiceStub(channel)) for _ in range(5)]
            for watch in watches:
                await watch.until("sync")
            scene.table.apply(make(1, application="y" * fat), [])
            assert len(handlers()) == len(watches)
            await scene.stub.GetSession(GetSessionRequest(id=1))  # they have begun to write
            if cut:
                line.cut()
            else:
                for watch in watches:
                    watch.call.cancel()
            while handlers():
                await scene.stub.GetSession(GetSessionRequest(id=1))
        assert not scene.table.log._waiting
        # gRPC's poller also wakes the loops of earlier tests, which are closed.
        records = [each for each in caplog.records if "PollerCompletionQueue" not in each.msg]
        assert not [record for record in records if record.levelno >= logging.WARNING]

    # After a little is written, they wait for more; after much, for the reader.
    run(test, make(1))


def test_a_core_that_is_not_ready_sends_what_it_has_and_syncs_once_it_is() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch()
        seen: list[WatchSessionsResponse] = []
        while watch.ids != [2, 3]:
            seen.append(await watch.next())
        scene.table.apply(make(2, 5, user="u") + make(1), [3])
        while watch.ids != [1, 2, 5]:
            seen.append(await watch.next())
        while (
            message := await watch.next()
        ).SerializeToString() != watching.EMPTY_PART:  # it lives
            seen.append(message)
        assert not any(each.HasField("as_of") or each.revision for each in seen)
        scene.table.set_source("fake", reachable=True)
        synced = await watch.until("sync")
        assert synced.revision == scene.table.revision
        assert synced.HasField("as_of")
        assert watch.copy.sessions[2].user == "u"
        assert watch.ids == [1, 2, 5]

    run(test, make(2, 3), ready=False)


def test_a_core_that_is_not_ready_resumes_no_stream() -> None:
    async def test(scene: Scene) -> None:
        watch = scene.watch(resume_revision=scene.table.revision)
        assert await watch.error() == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")

    run(test, make(1), ready=False)


def core() -> Core:
    source = SourceConfig.parse("synthetic:?sessions=50&churn=0")
    return Core(CoreConfig(sources=(source,), grpc="127.0.0.1:0", grace=3600))


def test_a_core_that_stops_ends_its_streams_without_waiting_for_the_grace() -> None:
    async def main() -> None:
        running = core()
        await running.start()
        await running.table.ready.wait()
        async with grpc.aio.insecure_channel(running.address) as channel:
            watch = Watch(SessionServiceStub(channel))
            await watch.until("sync")
            assert watch.ids == list(range(1, 51))
            ended = asyncio.create_task(watch.error())
            async with asyncio.timeout(60):
                await running.stop()
            assert await ended == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

    asyncio.run(main())


def test_a_revision_of_an_earlier_core_starts_over() -> None:
    async def main() -> None:
        async with core() as first:
            await first.table.ready.wait()
            revision = first.table.revision
        async with core() as second, grpc.aio.insecure_channel(second.address) as channel:
            await second.table.ready.wait()
            watch = Watch(SessionServiceStub(channel), resume_revision=revision)
            assert await watch.error() == (grpc.StatusCode.OUT_OF_RANGE, "REVISION_NOT_HELD")

    asyncio.run(main())
