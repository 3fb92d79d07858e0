"""Received bytes of a connection are counted, and too many of them end the wait for more."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support import received


async def _flood(size: int) -> None:
    async def handle(asked: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asked.read(1)
            writer.write(b"x" * size)
            await writer.drain()
            await asked.read()  # until the other end is closed, or has waited long enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        async with received.limit_received(writer.get_extra_info("socket").fileno, "here: "):
            writer.write(b"?")
            await reader.readexactly(size)
            await asyncio.sleep(0.3)
    finally:
        writer.close()
        server.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the system counts nothing")
def test_too_much_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received, "MAX_RECEIVED_BYTES", 1024 * 1024)
    asyncio.run(_flood(1024 * 1024))
    with pytest.raises(SourceError, match=r"^here: the response is larger than 1 MiB$"):
        asyncio.run(_flood(1024 * 1024 + 1))


def test_where_nobody_counts_nothing_is_told() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert received.received(one.fileno()) is None
    assert received.received(-1) is None
