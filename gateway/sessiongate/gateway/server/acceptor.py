"""Accepts connections on a listening socket while there is room for them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from sessiongate.runtime.rate_limited_log import RateLimitedLog

log = logging.getLogger(__name__)

# Connections accepted at a time: workers share the socket, and one that accepted all that
# wait would serve them alone.
_A_TURN = 16
# Unsent bytes of a connection that the kernel accepts: they use memory, too, and this limit
# reveals a client that reads nothing.
_UNSENT = 131072
_PAUSE = 1.0  # seconds until it retries after the system refused a connection


class Acceptor:
    """Passes each connection to ``take``, while ``has_room`` returns true."""

    def __init__(
        self,
        listener: socket.socket,
        has_room: Callable[[], bool],
        take: Callable[[socket.socket], None],
    ) -> None:
        self._listener = listener
        self._has_room = has_room
        self._take = take
        self._is_reading = False
        self._pause: asyncio.TimerHandle | None = None
        self._limited_log = RateLimitedLog(log)
        # Accepted connections inherit this.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def start(self) -> None:
        """Start accepting, or continue when there is room again."""
        if not self._is_reading and self._pause is None:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Stop accepting; no accepted connection is lost."""
        if self._is_reading:
            self._is_reading = False
            asyncio.get_running_loop().remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _accept(self) -> None:
        for _ in range(_A_TURN):
            if not self._has_room():
                self.stop()
                return
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # closed before it was accepted
                continue
            except OSError as error:  # out of descriptors or memory
                self._limited_log.warn(f"no connection can be accepted: {error.strerror}")
                self.stop()
                self._pause = asyncio.get_running_loop().call_later(_PAUSE, self._resume)
                return
            connection.setblocking(False)
            self._take(connection)

    def _resume(self) -> None:
        self._pause = None
        self.start()
