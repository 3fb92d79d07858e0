"""TCP links between programs and a server, which can be cut, slow, or silent for a while."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from tests.closing import Closing
from tests.program import PATIENCE

Seen = Callable[[bytes], None]


class Link:
    """A program's way to a server, over a free port of ``127.0.0.1``.

    While it is silent, nothing passes and nobody is told; what was sent meanwhile passes later.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._delay = 0.0
        self._is_cut = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: Seen | None = None
        self.port = 0

    def cut(self) -> None:
        """Hang up, and refuse connections."""
        self._links.call(self._cut)

    def silence(self) -> None:
        """Let nothing pass."""
        self._links.call(self._passing.clear)

    def slow_down(self, delay: float) -> None:
        """Let each piece take that many seconds more."""
        self._links.call(setattr, self, "_delay", delay)

    def heal(self) -> None:
        """Pass everything on, as at first."""
        self._links.call(self._heal)

    def when_sent(self, seen: Seen | None) -> None:
        """Call something with each piece of a request, before it is passed on."""
        self._links.call(setattr, self, "_seen", seen)

    def hang_up(self) -> None:
        """End the connections that there are: the server is gone."""
        self._links.call(self._hang_up)

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up, and listen no longer."""
        self._server.close()
        self._cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cut(self) -> None:
        self._is_cut = True
        self._hang_up()

    def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _heal(self) -> None:
        self._is_cut, self._delay, self._seen = False, 0.0, None
        self._passing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            if self._is_cut:
                return
            await self._passing.wait()
            incoming, there = await asyncio.open_connection("127.0.0.1", self._links.target)
            ends.append(there)
            ways = [self._pass(reader, there, is_request=True), self._pass(incoming, writer)]
            passing = [asyncio.ensure_future(each) for each in ways]
            try:
                await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in passing:
                    each.cancel()
                await asyncio.gather(*passing, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # nobody is there, or the link is cut
        finally:
            for end in ends:
                end.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_request: bool = False,
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                if is_request and self._seen is not None:
                    self._seen(chunk)
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._passing.wait()
                writer.write(chunk)
                await writer.drain()
        await self._passing.wait()  # not even an end passes


class Links(Closing):
    """The links to one server, in a thread of their own."""

    def __init__(self, target: int) -> None:
        """Pass on to a port of this machine, which may change."""
        self.target = target
        self._links: list[Link] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def add(self) -> Link:
        """Return another link, which listens."""
        link = Link(self)
        self._run(link.open())
        self._links.append(link)
        return link

    def redirect(self, target: int) -> None:
        """Pass on to another server from now on: the last one is gone."""
        self.target = target
        for link in self._links:
            link.hang_up()

    def close(self) -> None:
        """Close them all."""
        for link in self._links:
            self._run(link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call something in the thread of the links; return once that is done."""

        async def done() -> None:
            function(*arguments)

        self._run(done())

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        waiting: Future[None] = asyncio.run_coroutine_threadsafe(work, self._loop)
        waiting.result(PATIENCE)
