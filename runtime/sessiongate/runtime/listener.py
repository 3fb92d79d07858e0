"""Listening sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sessiongate.runtime.addresses import Address

BACKLOG = 1024  # connections waiting to be accepted


class ListenError(Exception):
    """Listening on an address failed; the text names the address and the cause."""

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
    """Return the cause of a failure to listen, and what to do."""
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there; stop it or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; 0.0.0.0 listens on all of its addresses"
        case errno.EACCES:
            return "permission denied; ports below 1024 are reserved for root"
    return str(error.strerror)


def real_address(where: str, listener: socket.socket) -> str:
    """Return ``where`` with the actual port of a listener."""
    return str(replace(Address.parse(where), port=listener.getsockname()[1]))


@contextmanager
def created_with(mode: int, address: str) -> Iterator[None]:
    """Create a Unix socket in the body with this mode, whatever the umask, and never a wider one.

    The umask is the whole process's, but this one grants no more rights on other files.
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
