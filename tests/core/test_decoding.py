"""How a core answers requests that are not messages of its methods."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from sessiongate.core.server import Core
from sessiongate.core.settings import CoreConfig
from sessiongate.core.sources.base import SourceConfig
from sessiongate.runtime.auth.protection import Protection
from sessiongate.v1.errors import STATUS_TRAILER
from tests.core.test_authentication import connect, methods
from tests.credentials import CredentialFiles, basic
from tests.servers import free_port

NO_MESSAGE = b"\xff\xff"
LONG = 20.0


async def refused(
    address: str, path: str, metadata: tuple[tuple[str, str], ...] = ()
) -> tuple[grpc.StatusCode, str]:
    """Return how a call without a valid message is refused: code and reason."""
    async with connect(address) as channel:
        # To the core, a stream of one request is one request.
        call = channel.stream_stream(path)(iter([NO_MESSAGE]), timeout=LONG, metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    info = ErrorInfo()
    trailers = dict(caught.value.trailing_metadata())
    [detail, *_] = Status.FromString(trailers[STATUS_TRAILER]).details
    assert detail.Unpack(info)
    return caught.value.code(), info.reason


def test_no_message_is_an_error_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        # It may be acted on, so that there is the service for that, too.
        source = SourceConfig.parse(f"postgresql://a@127.0.0.1:{free_port()}?actions=terminate")
        config = CoreConfig(
            sources=(source,),
            grpc="127.0.0.1:0",
            protection=Protection(insecure_actions=True),
        )
        async with Core(config) as core:
            for path in methods():
                told = await refused(core.address, path)
                assert told == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"), path

    asyncio.run(main())
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_who_may_not_call_is_not_read(tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path)

    async def main() -> None:
        config = CoreConfig(
            sources=(SourceConfig.parse("synthetic:"),),
            grpc="127.0.0.1:0",
            protection=Protection(users=str(files.users)),
        )
        path = "/sessiongate.v1.SessionService/GetSession"
        async with Core(config) as core:
            code, _ = await refused(core.address, path)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            allowed = (("authorization", basic()),)
            code, _ = await refused(core.address, path, allowed)
            assert code is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(main())
