"""One worker of the gateway: accepts connections on a given socket, and serves them."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from contextlib import suppress
from time import monotonic

from starlette.types import ASGIApp

from sessiongate.gateway.jsonapi.errors import Error
from sessiongate.gateway.limits import Limits
from sessiongate.gateway.server.acceptor import Acceptor
from sessiongate.gateway.server.http1 import PARTING, Http1
from sessiongate.gateway.server.http1_response import FastAnswer
from sessiongate.runtime.background import in_background
from sessiongate.runtime.memory import give_back
from sessiongate.runtime.rate_limited_log import RateLimitedLog
from sessiongate.runtime.tls import ServerTls, server_context

log = logging.getLogger(__name__)

REQUEST_GRACE = 5.0  # seconds for responses in progress once a worker stops
_TLS_SHUTDOWN = 1.0  # seconds for a client to confirm the end of TLS
_TICK = 0.5  # seconds between two checks for connections past their limits
_MANY = 100  # closed connections whose memory is worth returning
_LATE = 2.0  # seconds until memory is returned a second time
_PLAIN = Error(400, "TLS_REQUIRED", "this port requires TLS; use https://")


class Worker:
    """Serves an application on a listening socket until it is stopped."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        limits: Limits,
        tls: ServerTls | None = None,
        fast_path: FastAnswer | None = None,
    ) -> None:
        """Raise `FileError` if a file of ``tls`` cannot be used."""
        self._app = app
        self._fast_path = fast_path
        self._limits = limits
        self._acceptor = Acceptor(listener, self._has_room, self._take)
        self._limited_log = RateLimitedLog(log)
        # Each new connection uses the current files.
        self._context = None if tls is None else server_context(tls, self._refused)
        self._open: set[Http1] = set()
        self._silent: set[asyncio.Future[None]] = set()  # of connections that have sent nothing yet
        self._accepted = 0  # connections, including those not open yet
        self._is_stopping = False
        self._ended = asyncio.Event()  # set when a connection ends
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set, and responses in progress are finished or too slow."""
        checking = in_background(self._check, "checking the connections")
        self._acceptor.start()
        try:
            await stopping.wait()
            self._stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(REQUEST_GRACE):
                    while self._accepted:
                        self._ended.clear()
                        await self._ended.wait()
        finally:
            self._acceptor.stop()
            for task in (checking, *self._tasks):
                task.cancel()
            for connection in [*self._open]:
                connection.abort()
            await asyncio.gather(checking, *self._tasks, return_exceptions=True)

    def _stop(self) -> None:
        self._is_stopping = True
        self._acceptor.stop()
        for connection in [*self._open]:
            connection.stop()
        # As on open connections, the first request may be in transit.
        asyncio.get_running_loop().call_later(PARTING, self._part)

    def _part(self) -> None:
        for waiting in self._silent:
            if not waiting.done():
                waiting.set_exception(ConnectionAbortedError())

    def _has_room(self) -> bool:
        return self._accepted < self._limits.max_connections

    def _take(self, connection: socket.socket) -> None:
        self._accepted += 1
        task = asyncio.get_running_loop().create_task(self._connect(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        protocol = Http1(self._app, self._limits, self._open, self._lost, self._fast_path)
        try:
            await (self._open_plain if self._context is None else self._open_tls)(
                connection, protocol
            )
        except (Exception, asyncio.CancelledError):  # closed, refused or too slow
            connection.close()
            if not protocol.was_open:
                self._lost()
        else:
            if self._is_stopping:
                protocol.stop()

    async def _open_plain(self, connection: socket.socket, protocol: Http1) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: protocol, connection)

    async def _open_tls(self, connection: socket.socket, protocol: Http1) -> None:
        assert self._context is not None  # noqa: S101 - else it is plain
        if (
            await self._first_byte(connection)
        ).isupper():  # of a method; a handshake begins with 22
            self._refused("the client sent HTTP without TLS")
            protocol.refuse_all(_PLAIN)
            await self._open_plain(connection, protocol)
            return
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._context.value,
            ssl_handshake_timeout=self._limits.header_timeout,
            ssl_shutdown_timeout=_TLS_SHUTDOWN,
        )

    async def _first_byte(self, connection: socket.socket) -> bytes:
        """Return a connection's first byte without reading it. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        has_arrived: asyncio.Future[None] = loop.create_future()
        self._silent.add(has_arrived)
        loop.add_reader(connection, _note, has_arrived)
        try:
            async with asyncio.timeout(self._limits.header_timeout):
                await has_arrived
        finally:
            loop.remove_reader(connection)
            self._silent.discard(has_arrived)
        return connection.recv(1, socket.MSG_PEEK)

    def _refused(self, why: str) -> None:
        self._limited_log.warn(f"refused a connection: {why}")

    def _lost(self) -> None:
        self._accepted -= 1
        self._ended.set()
        if not self._is_stopping:
            self._acceptor.start()

    async def _check(self) -> None:
        most = 0  # concurrent connections since memory was last returned
        late = 0.0  # when to return it again: some of it becomes free later
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            most = max(most, self._accepted)
            if most - self._accepted >= _MANY:
                most, late = self._accepted, now + _LATE
                give_back()
            elif 0 < late <= now:
                late = 0.0
                gc.collect()  # abandoned requests may leave cycles
                give_back()
            for connection in [*self._open]:
                connection.check(now)


def _note(has_arrived: asyncio.Future[None]) -> None:
    if not has_arrived.done():
        has_arrived.set_result(None)
