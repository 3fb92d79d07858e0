"""One worker of the gateway: accepts connections on a socket it is given, and serves them."""

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
from sessiongate.runtime.memory import give_back
from sessiongate.runtime.rarely import Rarely
from sessiongate.runtime.tls import ServerTls, server_context

log = logging.getLogger(__name__)

REQUEST_GRACE = 5.0  # seconds that answers under way may take once a worker is told to stop
_TLS_SHUTDOWN = 1.0  # seconds in which a client may confirm that it closes, too
_TICK = 0.5  # seconds between two checks for connections that have lasted too long
_MANY = 100  # connections whose end frees memory worth giving back
_LATE = 2.0  # seconds until memory is given back a second time
_PLAIN = Error(400, "TLS_REQUIRED", "this port speaks TLS; use https://")


class Worker:
    """Serves an application on a listening socket until it is told to stop."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, limits: Limits, tls: ServerTls | None = None
    ) -> None:
        """Raise `FileError` if a file of ``tls`` cannot be used."""
        self._app = app
        self._limits = limits
        self._acceptor = Acceptor(listener, self._has_room, self._take)
        self._rarely = Rarely(log)
        # Each connection uses the files as they are then.
        self._context = None if tls is None else server_context(tls, self._refused)
        self._open: set[Http1] = set()
        self._silent: set[asyncio.Future[None]] = set()  # of connections that have sent nothing yet
        self._accepted = 0  # connections, including those not open yet
        self._is_stopping = False
        self._ended = asyncio.Event()  # set when a connection ends
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until ``stopping`` is set, and answers under way are finished or too slow."""
        checking = asyncio.create_task(self._check())
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
        # As for open connections, the first request may be on its way.
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
        protocol = Http1(self._app, self._limits, self._open, self._lost)
        try:
            await (self._open_plain if self._context is None else self._open_tls)(
                connection, protocol
            )
        except (Exception, asyncio.CancelledError):  # it is gone, or refused, or took too long
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
        """Return a connection's first byte, but leave it unread. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        has_come: asyncio.Future[None] = loop.create_future()
        self._silent.add(has_come)
        loop.add_reader(connection, _note, has_come)
        try:
            async with asyncio.timeout(self._limits.header_timeout):
                await has_come
        finally:
            loop.remove_reader(connection)
            self._silent.discard(has_come)
        return connection.recv(1, socket.MSG_PEEK)

    def _refused(self, why: str) -> None:
        self._rarely.warn(f"a connection is refused: {why}")

    def _lost(self) -> None:
        self._accepted -= 1
        self._ended.set()
        if not self._is_stopping:
            self._acceptor.start()

    async def _check(self) -> None:
        most = 0  # connections at a time since memory was last given back
        late = 0.0  # when it is given back once more: some of it becomes free later
        while True:
            await asyncio.sleep(_TICK)
            now = monotonic()
            most = max(most, self._accepted)
            if most - self._accepted >= _MANY:
                most, late = self._accepted, now + _LATE
                give_back()
            elif 0 < late <= now:
                late = 0.0
                gc.collect()  # what abandoned requests held may hold itself
                give_back()
            for connection in [*self._open]:
                connection.check(now)


def _note(has_come: asyncio.Future[None]) -> None:
    if not has_come.done():
        has_come.set_result(None)
