"""Linux's list of TCP sockets over netlink, as ``sock_diag(7)`` describes it.

It shows what ``/proc/net/tcp`` does, those of the process's network namespace, at a fraction
of the cost. Some kernels and sandboxes do not have it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TypeAlias

SocketRow: TypeAlias = tuple[int, int, bytes, int]
"""Address family, state, ends and inode of a socket.

The ends include a number that no other socket has had. The inode is 0 while no process has
accepted the connection, and once its process has closed it.
"""

_NETLINK_SOCK_DIAG = 4
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: the list changed, and may lack sockets
_ERROR, _DONE, _SOCK_DIAG_BY_FAMILY = 2, 3, 20  # kinds of message
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, kind, flags, sequence, port
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states
_ROW = struct.Struct("=BB2x48s16xI")  # inet_diag_msg, without timers, queues and user
_ENDS = struct.Struct("!HH16s16s12x")  # inet_diag_sockid: ports, addresses
_STATUS = struct.Struct("=i")  # minus an errno, or 0
_DATAGRAM = 64 * 1024  # bytes; the kernel fills at most half
_MOST_ROW = 256  # bytes of a row that are allowed for; it has about 124
_TRIES = 3

# The errors of a system that has no sock_diag, or does not let this process use it.
_MISSING = (
    *(errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP),
    *(errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS),
)


def is_missing(error: OSError) -> bool:
    """Return whether an error of `list_sockets` means that there is no sock_diag here."""
    return error.errno in _MISSING


def list_sockets(family: int, states: int, most: int) -> Iterator[SocketRow]:
    """Yield the TCP sockets in ``states``, a bit for each; at least ``most`` if there are more.

    The kernel has listed all of them when the first is yielded. Raises OSError.
    """
    for _ in range(_TRIES):
        datagrams = _dump(family, states, most * _MOST_ROW)
        if not _is_interrupted(datagrams):
            return rows_of(datagrams)
    raise OSError(errno.EINTR, f"the list of sockets changed during {_TRIES} readings")


def ends_of(row: SocketRow) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the address and port of a socket's local end, and of its remote end."""
    family, _, ends, _ = row
    near_port, far_port, near, far = _ENDS.unpack(ends)
    size = 4 if family == socket.AF_INET else 16
    return (
        (socket.inet_ntop(family, near[:size]), near_port),
        (socket.inet_ntop(family, far[:size]), far_port),
    )


def _dump(family: int, states: int, most: int) -> list[bytes]:
    """Return the kernel's datagrams; if they have more than ``most`` bytes, the first of them."""
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    header = _HEADER.pack(_HEADER.size + _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _DUMP, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.setblocking(False)
        kernel.sendto(header + _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states), (0, 0))
        return receive(kernel, most)


def receive(kernel: socket.socket, most: int) -> list[bytes]:
    """Receive what is there, at most one datagram beyond ``most`` bytes.

    The kernel writes the next datagram while this one is received, so that all of them are
    there without waiting. Raises OSError if one does not fit.
    """
    datagrams: list[bytes] = []
    size = 0
    while size <= most:
        try:
            datagram, _, flags, _ = kernel.recvmsg(_DATAGRAM)
        except BlockingIOError:
            break
        if flags & socket.MSG_TRUNC:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        datagrams.append(datagram)
        size += len(datagram)
    return datagrams


def _is_interrupted(datagrams: Iterable[bytes]) -> bool:
    return any(
        len(datagram) >= _HEADER.size and _HEADER.unpack_from(datagram)[2] & _INTERRUPTED
        for datagram in datagrams
    )


def rows_of(datagrams: Iterable[bytes]) -> Iterator[SocketRow]:
    """Yield the rows in datagrams. Raises OSError: the kernel's, or if the list is cut short."""
    for datagram in datagrams:
        rows, at = _rows_alike(datagram)
        yield from rows
        while at + _HEADER.size + _STATUS.size <= len(datagram):
            length, kind, *_ = _HEADER.unpack_from(datagram, at)
            body = at + _HEADER.size
            if kind in (_ERROR, _DONE):
                if status := _STATUS.unpack_from(datagram, body)[0]:
                    raise OSError(-status, os.strerror(-status))
                return
            if kind != _SOCK_DIAG_BY_FAMILY or not body + _ROW.size <= at + length <= len(datagram):
                break
            yield _ROW.unpack_from(datagram, body)
            at += length + 3 & ~3
        if at < len(datagram):
            break
    raise OSError(errno.EBADMSG, "the list of sockets is cut short")


def _rows_alike(datagram: bytes) -> tuple[Iterable[SocketRow], int]:
    """Return the rows of messages that are as long as the first, and where they end.

    They are all or most of a datagram, and are read in a third of the time that others take.
    """
    if len(datagram) < _HEADER.size + _ROW.size:
        return (), 0
    length, kind, *_ = _HEADER.unpack_from(datagram)
    if kind != _SOCK_DIAG_BY_FAMILY or length < _HEADER.size + _ROW.size or length % 4:
        return (), 0
    headers, rows = _structs(length)
    end = len(datagram) - len(datagram) % length
    alike = [*headers.iter_unpack(datagram[:end])]
    if alike.count((length, kind)) < len(alike):
        return (), 0
    return rows.iter_unpack(datagram[:end]), end


@lru_cache(maxsize=16)
def _structs(length: int) -> tuple[struct.Struct, struct.Struct]:
    """Return the structures of the header and of the row of a message of a length."""
    rest = length - _HEADER.size
    return (
        struct.Struct(f"=IH{length - 6}x"),
        struct.Struct(f"={_HEADER.size}x{_ROW.format[1:]}{rest - _ROW.size}x"),
    )
