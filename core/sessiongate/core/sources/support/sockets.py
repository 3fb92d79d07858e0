"""The visible TCP sockets of this machine, and how psutil reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain, islice
from socket import AF_INET, AF_INET6
from typing import NamedTuple

import psutil

from sessiongate.core.sources.base import DEFAULT_MAX_SESSIONS, Unreadable, UnreadableError
from sessiongate.core.sources.support.faults import Faults
from sessiongate.core.sources.support.inodes import Inodes
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.peer import shown_address
from sessiongate.runtime.addresses import MAX_PORT, parse_ip

VERSIONS: Mapping[int, int] = {AF_INET: 4, AF_INET6: 6}


class End(NamedTuple):
    """An address and a port, as the machine states them."""

    ip: str
    port: int

    @property
    def address(self) -> str:
        """The address as people know it: IPv4 for an IPv4-mapped IPv6 address."""
        return shown_address(self.ip)

    def __str__(self) -> str:
        address = self.address
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket."""

    version: int  # of IP: 4 or 6; a version 6 listener may accept IPv4 too
    local: End
    pid: int = 0  # of a process that has it open; 0: none is visible
    inode: int | None = None  # 0: its process has closed it; None: unknown

    @property
    def name(self) -> str:
        """The address and port that it listens on, such as ``127.0.0.1:80``."""
        return str(self.local)

    @property
    def place(self) -> str:
        """The name with the IP version: IPv4 and IPv6 sockets may have the same name."""
        return f"tcp{self.version} {self.name}"

    @property
    def key(self) -> str:
        """The place and the inode: another socket may take the place later."""
        return _key(self.place, self.inode)


@dataclass(frozen=True)
class TcpConnection:
    """One side of a connection, which may be opening or closing."""

    version: int  # of IP: 4 or 6; IPv4 through a version 6 listener is 6, with mapped addresses
    status: str  # one of psutil.CONN_*
    local: End
    remote: End
    pid: int = 0  # of a process that has it open; 0: none is visible, or none has it any longer
    inode: int | None = None  # 0: its process has closed it; None: unknown, or not accepted yet

    @cached_property
    def name(self) -> str:
        """Its two ends, such as ``127.0.0.1:80<-127.0.0.1:4711``."""
        return f"{self.local}<-{self.remote}"

    @cached_property
    def name_there(self) -> str:
        """The name of its other end."""
        return f"{self.remote}<-{self.local}"

    @cached_property
    def listeners(self) -> tuple[tuple[int, End], tuple[int, End]]:
        """The IP version and the end of each listener that may have accepted it.

        A socket that listens on "::" may accept IPv4 too; such a connection is an IPv6
        socket with IPv4-mapped addresses.
        """
        anywhere = End("0.0.0.0" if self.version == 4 else "::", self.local.port)  # noqa: S104
        return (self.version, self.local), (self.version, anywhere)

    @property
    def place(self) -> str:
        """The name with the IP version, as for a listener."""
        return f"tcp{self.version} {self.name}"

    @cached_property
    def key(self) -> str:
        """The place and the inode: the client may come back from the same port."""
        return _key(self.place, self.inode)


@dataclass(frozen=True, slots=True)
class Sockets:
    """Sockets at one moment; one that processes share may occur once for each.

    ``partial`` is the reason if these are not all; empty if they are.
    """

    listeners: list[Listener] = field(default_factory=list)
    connections: list[TcpConnection] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    partial: str = ""

    @property
    def pids(self) -> set[int]:
        """The processes that have these sockets open."""
        listening = {listener.pid for listener in self.listeners}
        return (listening | {connection.pid for connection in self.connections}) - {0}


def _key(place: str, inode: int | None) -> str:
    return place if inode is None else f"{place} {inode}"


def read_sockets(inodes: Inodes, most: int = 4 * DEFAULT_MAX_SESSIONS) -> Sockets:
    """Read at most ``most`` visible sockets, listening ones first; run this in a thread.

    Raises what psutil raises: its `Error`, OSError, RuntimeError.
    """
    listeners: list[Listener] = []
    connections: list[TcpConnection] = []
    faults = Faults()
    pace = Pace()
    inodes.look(most, pace)
    found = [*_read(pace)]
    listening = (item for item in found if item[2] == psutil.CONN_LISTEN)
    others = (item for item in found if item[2] != psutil.CONN_LISTEN)
    for item in islice(chain(listening, others), most):
        pace.sleep()
        try:
            socket = _socket(*item, inodes)
        except UnreadableError as error:
            faults.note(str(error))
            continue
        if isinstance(socket, Listener):
            listeners.append(socket)
        elif socket is not None:
            connections.append(socket)
    partial = f"only {most} of {len(found)} sockets are read" if len(found) > most else ""
    return Sockets(listeners, connections, faults.all, partial)


def _read(pace: Pace) -> Iterator[tuple[object, object, object, object, object]]:
    """Yield each socket's process, family, status and both ends, as psutil states them."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        # On macOS an ordinary user can read only its own processes, one by one.
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                for own in process.net_connections("tcp"):
                    yield process.pid, own.family, own.status, own.laddr, own.raddr
    else:
        for item in connections:
            pace.sleep()
            yield item.pid, item.family, item.status, item.laddr, item.raddr


def _socket(
    pid: object, family: object, status: object, local: object, remote: object, inodes: Inodes
) -> Listener | TcpConnection | None:
    """Read a socket; return None if it is neither bound to a port nor connected.

    Raises `UnreadableError`.
    """
    pid = pid if isinstance(pid, int) and pid > 0 else 0
    if not isinstance(status, str):
        raise UnreadableError("a TCP socket: expected a status")
    if not local or not (remote or status == psutil.CONN_LISTEN):
        return None
    version = VERSIONS.get(family) if isinstance(family, int) else None
    if version is None:
        raise UnreadableError("a TCP socket: expected IPv4 or IPv6")
    if status == psutil.CONN_LISTEN:
        end = _end(local, version)
        return Listener(version, end, pid, inodes.of(version, (end.ip, end.port), None))
    near, far = _end(local, version), _end(remote, version)
    inode = inodes.of(version, (near.ip, near.port), (far.ip, far.port))
    return TcpConnection(version, status, near, far, pid, inode)


def _end(found: object, version: int) -> End:
    """Read an end of a socket. Raises `UnreadableError`."""
    match found:
        case (str(ip), int(port)) if _version(ip) == version and 0 <= port <= MAX_PORT:
            return End(ip, port)
        case _:
            raise UnreadableError(f"a TCP socket: expected an IPv{version} address and a port")


@lru_cache(maxsize=16384)
def _version(ip: str) -> int | None:
    """Return an address's IP version; None if it is not an address."""
    found = parse_ip(ip)
    return found.version if found else None
