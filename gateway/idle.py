"""Connections on which nothing happens, which the server would keep for ever.

The server waits for a request's rest, but not for its first byte; and a connection
that is kept shuts another one out where there are as many as there may be. So the
kernel is asked when each last brought or took anything, and what is idle is closed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

# Where tcp_info (linux/tcp.h) has what is used here: milliseconds, and a count.
_LAST_SENT, _LAST_RECEIVED = 44, 52
_BYTES_RECEIVED = 128
_TCP_INFO_BYTES = 136


async def close_idle(port: int, *, first: float, silent: float) -> None:
    """Close this process's idle connections to ``port``, until cancelled.

    Idle is one that has brought nothing ``first`` seconds after it began, or has
    brought and taken nothing for ``silent`` seconds, in which every answer ends or
    tells something.
    """
    while True:
        await asyncio.sleep(min(first, silent) / 2)
        await asyncio.to_thread(_close_idle, port, first * 1000, silent * 1000)


def _close_idle(port: int, first: float, silent: float) -> None:
    for connection in _connections(port):
        with connection, suppress(OSError):  # it has ended meanwhile
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            if len(info) < _TCP_INFO_BYTES:
                return  # a kernel before 4.1
            (sent,) = struct.unpack_from("I", info, _LAST_SENT)
            (received,) = struct.unpack_from("I", info, _LAST_RECEIVED)
            (count,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
            if min(sent, received) > silent or (not count and received > first):
                connection.shutdown(socket.SHUT_RDWR)


def _connections(port: int) -> Iterator[socket.socket]:
    """Second handles of the connections: each is to be closed, and closes nothing."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            connection = socket.socket(fileno=os.dup(int(name)))
            try:
                internet = connection.family in (socket.AF_INET, socket.AF_INET6)
                found = internet and connection.getsockname()[1] == port
                if found:
                    connection.getpeername()  # not the listener, which has none
            except OSError:
                found = False
            if found:
                yield connection
            else:
                connection.close()
