"""One worker of the gateway: accepts connections on a socket that it is handed, and serves them."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from contextlib import suppress
from time import monotonic

from starlette.types import ASGIApp

from gateway.http1 import Http1
from gateway.limits import Limits
from runtime.tls import ServerTls, server_context

log = logging.getLogger(__name__)

GRACE = 5.0  # seconds that answers under way may take once a worker is told to stop
_TICK = 0.5  # seconds between two looks for connections that have lasted too long
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 1.0  # seconds until connections are accepted again where there was no room for one


class Worker:
    """Serves an application on a socket that listens, until it is told to stop."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, limits: Limits, tls: ServerTls | None = None
    ) -> None:
        """Raises `FileError` where a file of ``tls`` cannot be used."""
        self._app = app
        self._listener = listener
        self._limits = limits
        # For each connection as the files are then.
        self._context = None if tls is None else server_context(tls)
        self._open: set[Http1] = set()
        self._accepted = 0  # connections, those that are not open yet among them
        self._changed = asyncio.Event()  # set when there is one less
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set, and answers under way are finished or too slow."""
        accepting = [asyncio.create_task(self._accept()), asyncio.create_task(self._check())]
        try:
            await stopping.wait()
            accepting[0].cancel()
            for connection in [*self._open]:
                connection.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    while self._accepted:
                        await self._ended()
        finally:
            for task in (*accepting, *self._tasks):
                task.cancel()
            for connection in [*self._open]:
                connection.abort()
            await asyncio.gather(*accepting, *self._tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        is_exhausted = False
        while True:
            while self._accepted >= self._limits.max_connections:
                await self._ended()
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    if not is_exhausted:
                        log.warning("no connection can be accepted: %s", error.strerror)
                    is_exhausted = True
                    await asyncio.sleep(_PAUSE)
                continue
            is_exhausted = False
            self._accepted += 1
            task = loop.create_task(self._connect(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        protocol = Http1(self._app, self._limits, self._open, self._lost)
        try:
            if self._context is None:
                await loop.connect_accepted_socket(lambda: protocol, connection)
            else:
                await loop.connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=self._context.value,
                    ssl_handshake_timeout=self._limits.header_timeout,
                )
        except Exception:
            connection.close()
            if not protocol.was_open:
                self._lost()

    def _lost(self) -> None:
        self._accepted -= 1
        self._changed.set()

    async def _ended(self) -> None:
        """Wait until a connection has ended."""
        self._changed.clear()
        await self._changed.wait()

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            for connection in [*self._open]:
                connection.check(now)
