"""A limit on the bytes of a response that a driver reads: drivers have none.

Linux counts and reports the bytes that arrive over a TCP connection. On other systems, and
through a Unix socket, only time limits a response.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sessiongate.core.sources.base import SourceError
from sessiongate.runtime.memory import give_back

MAX_RECEIVED_BYTES = 128 * 1024 * 1024
_LOOK = 0.02  # seconds between two checks
_RELEASED = 1.0  # seconds after which the reader has released the response
# The position of tcpi_bytes_received in Linux's `tcp_info`.
_RECEIVED = struct.Struct("=128xQ")


def received(descriptor: int) -> int | None:
    """Return the bytes that arrived over a connection so far; None if they are not counted."""
    if descriptor < 0 or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size)
    except OSError:
        return None
    finally:
        connection.detach()  # it belongs to the driver
    return int(_RECEIVED.unpack(info)[0]) if len(info) == _RECEIVED.size else None


@asynccontextmanager
async def limit_received(
    descriptor: Callable[[], int], where: str = "", most: int | None = None
) -> AsyncIterator[None]:
    """Cancel the body once more than ``most`` bytes have arrived over a connection.

    The default is `MAX_RECEIVED_BYTES`. ``descriptor`` returns the connection's descriptor, -1
    while there is none. Raises `SourceError`, whose text begins with ``where``; discard the
    connection then.
    """
    most = MAX_RECEIVED_BYTES if most is None else most
    before = received(descriptor()) or 0
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle
    limit = asyncio.timeout(None)

    def look() -> None:
        nonlocal timer
        now = received(descriptor())
        if now is not None and now - before > most:
            limit.reschedule(loop.time())
        else:
            timer = loop.call_later(_LOOK, look)

    try:
        async with limit:
            timer = loop.call_later(_LOOK, look)
            try:
                yield
            finally:
                timer.cancel()
    except TimeoutError:
        if limit.expired():
            raise too_large(where, most) from None
        raise


def too_large(where: str = "", most: int | None = None) -> SourceError:
    """Return the error for too large a response, and free its memory a little later."""
    asyncio.get_running_loop().call_later(_RELEASED, give_back)
    most = MAX_RECEIVED_BYTES if most is None else most
    return SourceError(f"{where}the response is larger than {most // 1024**2} MiB")
