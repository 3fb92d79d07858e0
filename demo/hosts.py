"""Hosts that clients connect from: addresses of this machine's loopback network.

No database driver lets its user choose the address that it connects from. So a client connects
to a relay in its own process, and the relay connects from the host's address.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Relay:
    """Relays one connection at a time to a port of this machine, from the address ``host``.

    ``port`` is where the client connects to; ``lost`` is set while the server is not connected.
    """

    def __init__(self, host: str, target: int) -> None:
        self._host = host
        self._target = target
        self.port = 0
        self.lost = asyncio.Event()

    async def listen(self) -> None:
        """Begin to relay, on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lost.clear()
        with suppress(OSError):  # the server cannot be reached: the client sees the end
            source = (self._host, 0)
            incoming, there = await asyncio.open_connection(
                "127.0.0.1", self._target, local_addr=source
            )
            await asyncio.gather(_pass(reader, there), _pass(incoming, writer))
        writer.close()
        self.lost.set()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what arrives until the sender hangs up; then hang up, too."""
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
