"""The core's gRPC server, and callers that are not gRPC clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop

from sessiongate.core.grpc.hardened import grpc_server
from sessiongate.core.grpc.interceptor import MethodHandler, behaving, behaviour_of
from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.v1.service_names import SOURCE_SERVICE
from sessiongate.v1.session_service_pb2 import ListSessionsRequest, WatchSessionsRequest
from sessiongate.v1.session_service_pb2_grpc import SessionServiceStub
from tests.faults.calls import Call, make
from tests.program import PATIENCE

DOCUMENT = Path(__file__).parent.parent / "data" / "sessions.json"
EMPTY = b"\0\0\0\0\0"  # a message, as gRPC sends it


def call(path: str, *more: tuple[str, str]) -> Call:
    """Make a call as gRPC's clients do, except that headers may be in Latin-1."""
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")]
    headers += [(":authority", "localhost"), ("content-type", "application/grpc"), *more]
    return Call(headers, EMPTY)


def run(test: Callable[[Core, grpc.aio.Channel], Awaitable[None]]) -> None:
    config = CoreConfig(
        sources=(SourceConfig.parse(f"document:{DOCUMENT}"),),
        grpc="127.0.0.1:0",
        grace=0.1,
    )

    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            Core(config) as core,
            grpc.aio.insecure_channel(core.address) as channel,
        ):
            await core.table.ready.wait()
            await test(core, channel)

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/\xff", "/a/\xc3", "\xed\xa0\x80", "/a/b", "", "*"])
def test_a_path_that_is_no_method_s_ends_one_call_only(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(core: Core, channel: grpc.aio.Channel) -> None:
        strange = call(path)
        await asyncio.to_thread(make, core.address, [strange])
        assert strange.ended in ("UNIMPLEMENTED", "reset")
        listed = await SessionServiceStub(channel).ListSessions(ListSessionsRequest())
        assert len(listed.sessions) == 3

    run(test)
    assert "Traceback" not in caplog.text


def test_metadata_that_is_no_text_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async def test(core: Core, channel: grpc.aio.Channel) -> None:
        strange = call(f"/{SOURCE_SERVICE}/ListSources", ("x-request-id", "\xff"))
        await asyncio.to_thread(make, core.address, [strange])
        assert strange.ended == "OK"

    run(test)
    assert "Invalid encoding" not in caplog.text


class Noting:
    """An interceptor that notes what it wraps, and what is called."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        behaviour = behaviour_of(handler)
        self._notes.append(f"{self._name} wraps {method}")

        async def noted(request: bytes, context: object) -> object:
            self._notes.append(f"{self._name} passes on")
            return await behaviour(request, context)

        return behaving(handler, noted)


def test_each_method_is_wrapped_once_by_the_first_interceptor_last() -> None:
    notes: list[str] = []

    async def answer(request: bytes, context: object) -> bytes:
        return request

    async def main() -> None:
        server = grpc_server([Noting("outer", notes), Noting("inner", notes)], [])
        handler: MethodHandler = grpc.unary_unary_rpc_method_handler(answer)
        server.add_registered_method_handlers("a.Service", {"One": handler})
        server.add_registered_method_handlers("a.Service", {"Two": handler})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/a.Service/One")
            for _ in range(2):
                assert await call(b"x", timeout=PATIENCE) == b"x"
        await server.stop(None)

    asyncio.run(main())
    wrapped = [
        f"{name} wraps a.Service/{method}"
        for method in ("One", "Two")
        for name in ("inner", "outer")
    ]
    assert notes == [*wrapped, *2 * ["outer passes on", "inner passes on"]]


async def watched_by(core: Core, count: int) -> None:
    while len(core.watchers) != count:  # noqa: ASYNC110 - nothing tells when a stream has ended
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_calls_that_are_cancelled_leave_room_for_others(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Many calls and streams at a time, of which every other one is given up."""

    async def main() -> None:
        config = CoreConfig(
            sources=(SourceConfig.parse(f"document:{DOCUMENT}"),), grpc="127.0.0.1:0", grace=0
        )
        async with asyncio.timeout(PATIENCE), Core(config) as core:
            await core.table.ready.wait()
            async with grpc.aio.insecure_channel(core.address) as channel:
                stub = SessionServiceStub(channel)
                streams = [stub.WatchSessions(WatchSessionsRequest()) for _ in range(40)]
                for stream in streams:
                    await stream.read()
                calls = [stub.ListSessions(ListSessionsRequest()) for _ in range(50)]
                for one in (*calls[::2], *streams[::2]):
                    one.cancel()
                for call in calls[1::2]:
                    assert len((await call).sessions) == 3
                await watched_by(core, 20)
                for stream in streams[1::2]:
                    assert await stream.read()
            # The channel is closed, and the rest of the streams with it.
            await watched_by(core, 0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
