"""A libpq connection to a server that sends more than it should, or hangs."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from sessiongate.core.sources.base import Source, SourceConfig, SourceError, open_source
from sessiongate.core.sources.support import pq, received
from tests.faults.floods import columns, endless, pg, pg_one_row, postgresql
from tests.servers import PATIENCE

Flood = Callable[[asyncio.StreamWriter], Awaitable[None]]
_LET_IN = pg(b"R", struct.pack(">I", 0))
_NOTICE = pg(b"N", b"SNOTICE\0C00000\0Mhello\0\0")


@asynccontextmanager
async def source(speak: Callable[..., Awaitable[None]]) -> AsyncIterator[Source]:
    """Open a source whose server speaks so."""

    speaking: set[asyncio.Task[None] | None] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speaking.add(asyncio.current_task())
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await speak(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = open_source(SourceConfig.parse(f"postgresql://u@127.0.0.1:{port}/d"))
    try:
        async with asyncio.timeout(PATIENCE):
            yield opened
    finally:
        await opened.close()
        server.close()
        for task in filter(None, speaking):
            task.cancel()
        await asyncio.gather(*filter(None, speaking), return_exceptions=True)


async def failure(speak: Callable[..., Awaitable[None]]) -> str:
    async with source(speak) as reading:
        with pytest.raises(SourceError) as caught:
            await reading.observe()
    return str(caught.value)


@pytest.mark.parametrize(
    "result",
    [
        pg(b"C", b"\0"),
        pg(b"I", b""),
        columns(b"a") + pg(b"C", b"\0"),
        pg(b"E", b"SERROR\0C00000\0Mx\0\0"),
        pg(b"H", struct.pack(">bh", 0, 0)),
    ],
    ids=["command", "empty", "rows", "error", "copy"],
)
def test_results_without_end_are_given_up(result: bytes) -> None:
    assert "more than 16 results" in asyncio.run(
        failure(postgresql(lambda writer: endless(writer, result)))
    )


@pytest.mark.parametrize("said", [_NOTICE, pg(b"S", b"name\0" + b"x" * 1000 + b"\0")])
def test_a_greeting_without_end_is_given_up(said: bytes) -> None:
    async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_LET_IN)
        await endless(writer, said)

    assert "the response is larger than 1 MiB" in asyncio.run(failure(speak))


def test_a_long_error_is_cut() -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(pg(b"E", b"SERROR\0C00000\0M" + b"x" * 2_000_000 + b"\0\0") + pg(b"Z", b"I"))
        await writer.drain()
        await asyncio.Event().wait()

    assert len(asyncio.run(failure(postgresql(flood)))) < 1100


def test_a_row_that_is_too_large_is_read_beside_the_loop_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    asking = pq.PqConnection._querying

    def noted(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return asking(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pq.PqConnection, "_querying", noted)
    monkeypatch.setattr(received, "MAX_RECEIVED_BYTES", 8 * 1024 * 1024)
    monkeypatch.setattr(pq, "MAX_RECEIVED_BYTES", 8 * 1024 * 1024)
    assert "larger than 8 MiB" in asyncio.run(failure(postgresql(pg_one_row)))
    assert threads
    assert threading.main_thread() not in threads


def test_giving_up_ends_the_connection() -> None:
    async def test() -> None:
        asked, left = asyncio.Event(), asyncio.Event()

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            asked.set()
            await reader.read()
            left.set()

        async with source(speak) as reading:
            observing = asyncio.ensure_future(reading.observe())
            await asked.wait()
            observing.cancel()
            await left.wait()
            with pytest.raises(asyncio.CancelledError):
                await observing

    asyncio.run(test())
