"""A bound on the bytes of an answer that a driver reads, which bounds none itself.

The system counts what came over a TCP connection, and tells that on Linux. Elsewhere, and
through a Unix socket, only the time bounds an answer.
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
_LOOK = 0.02  # seconds between two looks
_LET_GO = 1.0  # seconds
# Where Linux's `tcp_info` has tcpi_bytes_received.
_RECEIVED = struct.Struct("=128xQ")


def received(descriptor: int) -> int | None:
    """Bytes that came over a connection so far; None if nobody counts them."""
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
        connection.detach()  # it is the driver's
    return int(_RECEIVED.unpack(info)[0]) if len(info) == _RECEIVED.size else None


@asynccontextmanager
async def limit_received(
    descriptor: Callable[[], int], where: str = "", most: int | None = None
) -> AsyncIterator[None]:
    """Give up what is awaited within, once more than ``most`` bytes came over a connection.

    That is `MAX_RECEIVED_BYTES` if not told. ``descriptor`` is the connection's, -1 as long as
    there is none. What came is of no use then, nor is the connection: raises `SourceError`,
    whose text begins with ``where``.
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
    """The error that says so. What came is given back soon: its reader lets go of it first."""
    asyncio.get_running_loop().call_later(_LET_GO, give_back)
    most = MAX_RECEIVED_BYTES if most is None else most
    return SourceError(f"{where}the answer is larger than {most // 1024**2} MiB")
