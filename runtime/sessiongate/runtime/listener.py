"""Sockets to listen on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sessiongate.runtime.addresses import Address

BACKLOG = 1024  # connections that wait to be accepted


class ListenError(Exception):
    """An address cannot be listened on; the text names it and the cause."""

    def __init__(self, where: str, cause: str) -> None:
        super().__init__(f"cannot listen on {where}: {cause}")
        self.where = where


def listen(where: str) -> socket.socket:
    """Return a non-blocking socket that listens on ``HOST:PORT`` only. Raises `ListenError`."""
    address = Address.parse(where)
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, place = found[0]
        listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(where, _cause(error)) from None
    listener.setblocking(False)
    return listener


def _cause(error: OSError) -> str:
    """Return why an address cannot be listened on, and what to do."""
    if isinstance(error, socket.gaierror):
        return "no address is known for this name"
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there; stop it, or take another port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; 0.0.0.0 stands for all that it has"
        case errno.EACCES:
            return "permission denied; ports below 1024 are for root"
    return str(error.strerror)


def real_address(where: str, listener: socket.socket) -> str:
    """Return ``where`` with the port that is really listened on."""
    return str(replace(Address.parse(where), port=listener.getsockname()[1]))


@contextmanager
def created_with(mode: int, address: str) -> Iterator[None]:
    """Give a Unix socket created meanwhile this mode, whatever the umask; never a wider one.

    The umask is the whole process's, but it gives other threads' files no more rights.
    """
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)
    if mode != 0o600:
        os.chmod(address.removeprefix("unix:"), mode)


def is_listened_on(path: str) -> bool:
    """Return whether a program accepts connections at a Unix socket's path."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except OSError:
            return False
    return True
