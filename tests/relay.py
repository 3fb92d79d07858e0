"""A TCP proxy in front of a server, with switches for what it does to the answers."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType
from typing import Self


class Relay:
    """Passes on what it gets, on a free port of ``127.0.0.1``, within one event loop.

    ``cut_after`` hangs up behind so many bytes of a connection's answers;
    ``garble`` replaces, from that byte on, one in eight of their bytes.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = host, port
        self.cut_after: int | None = None
        self.garble: int | None = None
        self.port = 0
        self._random = random.Random(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there = None
        try:
            incoming, there = await asyncio.open_connection(*self._target)
            passing = asyncio.ensure_future(self._pass(reader, there))
            try:
                await self._answer(incoming, writer)
            finally:
                passing.cancel()
                await asyncio.gather(passing, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # nobody there, or the relay is closed
        finally:
            writer.close()  # what was written is still on its way
            if there is not None:
                there.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
        writer.write_eof()  # a client that asks no more may still read

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while chunk := await reader.read(65536):
            if self.garble is not None:
                chunk = self._garbled(chunk, self.garble - passed)
            if self.cut_after is not None and passed + len(chunk) >= self.cut_after:
                chunk = chunk[: self.cut_after - passed]
            passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
            if passed == self.cut_after:
                return

    def _garbled(self, chunk: bytes, start: int) -> bytes:
        return bytes(
            self._random.randrange(256)
            if place >= start and not self._random.randrange(8)
            else byte
            for place, byte in enumerate(chunk)
        )
