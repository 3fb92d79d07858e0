"""Accepts connections on a listening socket as long as there is room for them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from sessiongate.runtime.rarely import Rarely

log = logging.getLogger(__name__)

# Connections accepted before others get a turn: workers share the socket, and one that
# accepted all that wait would serve them alone.
_A_TURN = 16
# Bytes of a connection that the kernel takes before it sends them: they use memory, too,
# and reveal a reader that takes nothing.
_UNSENT = 131072
_PAUSE = 1.0  # seconds until it tries again after the system refused to give it one


class Acceptor:
    """Hands each connection to ``take``, while ``has_room`` says that there is room."""

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
        self._rarely = Rarely(log)
        # Its connections inherit this.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def start(self) -> None:
        """Begin to accept, or go on when there is room again."""
        if not self._is_reading and self._pause is None:
            self._is_reading = True
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Accept no more; no accepted connection is lost."""
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
            except ConnectionError:  # it was gone before it was accepted
                continue
            except OSError as error:  # no descriptor is left, or no memory
                self._rarely.warn(f"no connection can be accepted: {error.strerror}")
                self.stop()
                self._pause = asyncio.get_running_loop().call_later(_PAUSE, self._go_on)
                return
            connection.setblocking(False)
            self._take(connection)

    def _go_on(self) -> None:
        self._pause = None
        self.start()
