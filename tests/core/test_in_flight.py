"""Lists that nobody reads: how much they may hold, for how long, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from sessiongate.core.errors import TooManyCallsError
from sessiongate.core.grpc import in_flight, service
from sessiongate.core.grpc.in_flight import ListsInFlight
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.v1.session_service_pb2 import ListSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.frames import INITIAL_WINDOW_SIZE, RST_STREAM, call, opening
from tests.program import PATIENCE

LIMIT = 1000
LIST = "/sessiongate.v1.SessionService/ListSessions"
WATCH = "/sessiongate.v1.SessionService/WatchSessions"


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_OF_A_CALLER", LIMIT)
    monkeypatch.setattr(in_flight, "_OF_ALL", 2 * LIMIT)
    monkeypatch.setattr(in_flight, "_MAX_WAITING", 3)


def run(test: Callable[[ListsInFlight], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await test(ListsInFlight())

    asyncio.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.usefixtures("limits")
def test_a_caller_waits_for_its_own_lists_and_no_other_does() -> None:
    async def test(flight: ListsInFlight) -> None:
        held = await flight.take("a", LIMIT)
        waits = asyncio.ensure_future(flight.take("a", 1))
        await settle()
        assert not waits.done()
        assert flight.take_now("a", 1) is None
        other = await flight.take("b", LIMIT)
        held.release()
        await waits
        assert (flight.taken("a"), flight.taken()) == (1, LIMIT + 1)
        other.release()

    run(test)


@pytest.mark.usefixtures("limits")
def test_when_all_is_taken_a_caller_without_any_has_one_still() -> None:
    async def test(flight: ListsInFlight) -> None:
        held = [await flight.take(caller, LIMIT) for caller in "abc"]
        assert flight.taken() == 3 * LIMIT
        assert flight.take_now("c", 1) is None
        held.pop().release()
        assert flight.take_now("c", 1)
        assert flight.take_now("c", 1) is None  # the others hold the rest

    run(test)


@pytest.mark.usefixtures("limits")
def test_who_leaves_holds_up_nobody_and_takes_nothing() -> None:
    async def test(flight: ListsInFlight) -> None:
        held = await flight.take("a", LIMIT)
        waiting = [asyncio.ensure_future(flight.take("a", LIMIT)) for _ in range(3)]
        await settle()
        with pytest.raises(TooManyCallsError):
            await flight.take("a", LIMIT)
        waiting[0].cancel()
        held.release()  # in the same round: the second gets its turn, and leaves with it
        waiting[1].cancel()
        (await waiting[2]).release()
        assert flight.taken() == 0

    run(test)


def asked(stream: int) -> bytes:
    """Request a list of all sessions, on a stream."""
    return call(LIST, ListSessionsRequest(page_size=10_000).SerializeToString(), stream)


def watched(stream: int) -> bytes:
    """Watch all sessions, on a stream."""
    return call(WATCH, b"", stream)


async def reset(reader: asyncio.StreamReader) -> int:
    """Return the next stream that is reset."""
    while True:
        head = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(head[:3]))
        if head[3] == RST_STREAM:
            return int.from_bytes(head[5:])


@pytest.mark.long
@pytest.mark.parametrize("ask", [asked, watched])
def test_what_is_not_taken_is_cut_and_keeps_no_other_caller_waiting(
    ask: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(in_flight, "_OF_A_CALLER", LIMIT)  # one list at a time
    monkeypatch.setattr(service, "STALL_TIMEOUT", 1.5)  # who reads may be late, too
    streams = [1, 3, 5]

    async def main() -> None:
        source = SourceConfig.parse("synthetic:?sessions=1000")
        async with (
            asyncio.timeout(PATIENCE),
            Core(CoreConfig(sources=(source,), grpc="127.0.0.1:0", grace=0.1)) as core,
            grpc.aio.insecure_channel(core.address) as channel,
        ):
            await core.table.ready.wait()
            host, _, port = core.address.rpartition(":")
            reader, writer = await asyncio.open_connection(
                host, int(port), local_addr=("127.0.0.2", 0)
            )
            writer.write(opening({INITIAL_WINDOW_SIZE: 0}) + b"".join(map(ask, streams)))
            stub = SessionServiceStub(channel)
            found = []
            for _ in streams:  # gRPC holds the last call until another one arrives
                listed = await stub.ListSessions(ListSessionsRequest(page_size=10_000))
                assert len(listed.sessions) == 1000
                found.append(await reset(reader))
            assert sorted(found) == streams
            writer.close()

    asyncio.run(main())
    assert not [line for line in caplog.records if line.levelname in ("WARNING", "ERROR")]
