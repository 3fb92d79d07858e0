"""A TCP proxy in front of a server, with switches that change the answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Self

Delay = Callable[[int], float]


def at_once(_passed: int) -> float:
    """Return no delay."""
    return 0.0


class Relay:
    """Passes on what it gets, on a free port of ``127.0.0.1``, within one event loop.

    ``cut_after`` hangs up after that many bytes of a connection's answers; ``answers_left`` and
    ``requests_left`` after that many bytes more of any, once, and are then None again.
    ``garble`` replaces, from that byte on, one in eight of their bytes. ``delay`` takes the bytes
    of an answer already passed, and returns by how many seconds to delay the next; ``hold`` does
    so for requests. Bytes never overtake earlier ones. ``reword`` are bytes of requests, and those
    that replace them, of the same length.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = host, port
        self.cut_after: int | None = None
        self.answers_left: int | None = None
        self.requests_left: int | None = None
        self.garble: int | None = None
        self.delay: Delay = at_once
        self.hold: Delay = at_once
        self.reword = b"", b""
        self.port = 0
        self._random = random.Random(1)
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def redirect(self, port: int) -> None:
        """Pass new connections on to another server on this machine."""
        self._target = "127.0.0.1", port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        serving = dict(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in serving.values():  # a task that had not begun has not closed its own
            writer.transport.abort()
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = None
        try:
            incoming, there = await asyncio.open_connection(*self._target)
            passing = asyncio.ensure_future(self._pass(reader, there))
            answering = asyncio.ensure_future(self._answer_with(incoming, writer))
            try:
                # A client that sends no more may still read.
                await asyncio.wait((passing, answering), return_when=asyncio.FIRST_COMPLETED)
                if not (passing.done() and passing.result()):
                    await answering
            finally:
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                passing.cancel()
                await asyncio.gather(passing, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or the relay is closed
        finally:
            writer.close()  # what was written is still in transit
            if there is not None:
                there.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass on requests; return whether the connection is to be cut."""
        async with aclosing(_late(reader, lambda: self.hold)) as chunks:
            async for chunk in chunks:
                chunk = chunk.replace(*self.reword)
                if self.requests_left is not None:
                    chunk = chunk[: self.requests_left]
                    self.requests_left -= len(chunk)
                writer.write(chunk)
                if self.requests_left == 0:
                    self.requests_left = None
                    return True
        writer.write_eof()
        return False

    async def _answer_with(
        self, incoming: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        async with aclosing(_late(incoming, lambda: self.delay)) as chunks:
            await self._answer(chunks, writer)

    async def _answer(self, chunks: AsyncGenerator[bytes], writer: asyncio.StreamWriter) -> None:
        passed = 0
        async for chunk in chunks:
            if self.garble is not None:
                chunk = self._garbled(chunk, self.garble - passed)
            if self.cut_after is not None and passed + len(chunk) >= self.cut_after:
                chunk = chunk[: self.cut_after - passed]
            if self.answers_left is not None:
                chunk = chunk[: self.answers_left]
                self.answers_left -= len(chunk)
            passed += len(chunk)
            writer.write(chunk)
            await writer.drain()
            if passed == self.cut_after:
                return
            if self.answers_left == 0:
                self.answers_left = None
                return

    def _garbled(self, chunk: bytes, start: int) -> bytes:
        return bytes(
            self._random.randrange(256)
            if place >= start and not self._random.randrange(8)
            else byte
            for place, byte in enumerate(chunk)
        )


async def _late(reader: asyncio.StreamReader, delay: Callable[[], Delay]) -> AsyncGenerator[bytes]:
    """Yield what is read, chunk by chunk, each when it is due."""
    # Without a delay, read no more than is passed on.
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1 if delay() is at_once else 0)

    async def read() -> None:
        passed, chunk = 0, b"-"
        while chunk:
            try:
                chunk = await reader.read(65536)
            except OSError:
                chunk = b""
            await due.put((time.monotonic() + delay()(passed), chunk))
            passed += len(chunk)

    reading = asyncio.ensure_future(read())
    try:
        while True:
            moment, chunk = await due.get()
            await asyncio.sleep(moment - time.monotonic())
            if not chunk:
                return
            yield chunk
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
