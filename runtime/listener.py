"""Sockets to listen on."""

from __future__ import annotations

import socket
from dataclasses import replace

from runtime.address import Address

BACKLOG = 1024  # connections that wait to be taken


class ListenError(Exception):
    """An address cannot be listened on; the text names it and the cause."""


def listen(where: str) -> socket.socket:
    """A socket that listens on ``HOST:PORT`` alone, not blocking. Raises `ListenError`."""
    address = Address.parse(where)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, place = found[0]
        listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def real_address(where: str, listener: socket.socket) -> str:
    """``where``, with the port that is really listened on."""
    return str(replace(Address.parse(where), port=listener.getsockname()[1]))


def is_listened_on(path: str) -> bool:
    """Whether a program takes connections at a Unix socket's path."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except OSError:
            return False
    return True
