"""The core's gRPC server, and callers that are not gRPC clients."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.v1.service_names import SOURCE_SERVICE
from sessiongate.v1.session_service_pb2 import ListSessionsRequest
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
