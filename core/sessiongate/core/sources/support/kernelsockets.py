"""The TCP sockets of this machine, as Linux's kernel lists them.

psutil reads the same more slowly, on every system: `sockets.read_sockets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple

import psutil

from sessiongate.core.sources.support.holders import Holders
from sessiongate.core.sources.support.known_rows import KnownRows
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.sockdiag import SocketRow, ends_of, list_sockets
from sessiongate.core.sources.support.sockets import (
    VERSIONS,
    End,
    Listener,
    Sockets,
    TcpConnection,
)

_LISTEN = 10
# The states in which a connection is a session, and what psutil calls them.
_STATES: Mapping[int, str] = {
    1: psutil.CONN_ESTABLISHED,
    4: psutil.CONN_FIN_WAIT1,
    5: psutil.CONN_FIN_WAIT2,
    8: psutil.CONN_CLOSE_WAIT,
}
_OPEN = (1, 8)  # this end has not closed it


class _Seen(NamedTuple):
    """A connection, and the row that it was read from."""

    row: SocketRow
    connection: TcpConnection


class KernelSockets:
    """Reads the sockets. A connection whose row is unchanged is the same object again."""

    def __init__(
        self, listed: Callable[[int, int, int], Iterator[SocketRow]] = list_sockets
    ) -> None:
        """Read what ``listed`` yields for an address family, states and a number of sockets."""
        self._listed = listed
        self._rows: KnownRows[SocketRow, SocketRow, _Seen] = KnownRows(
            itemgetter(2), stated=lambda rows: rows
        )
        self._seen: list[_Seen] = []
        # Of those, the clients of servers here with their places, and their processes; and the
        # ports of listeners.
        self._clients: Sequence[tuple[int, _Seen]] = ()
        self._pids: Sequence[int] = ()
        self._ports: Set[int] = frozenset()
        # The connections, as they were last returned, and of those the clients' by their ends.
        self._connections: list[TcpConnection] = []
        self._held: Mapping[bytes, TcpConnection] = {}
        self._shown: dict[tuple[int, End], int] = {}  # the listeners' inodes
        self._holders = Holders()

    def read(self, most: int) -> Sockets:
        """Read at most ``most`` sockets, listening ones first; run this in a thread.

        Listening sockets have their process. So have the clients of connections that both
        ends of are here; no other process is looked up. Raises OSError.
        """
        pace = Pace()
        listed, others = self._list([_LISTEN], most), self._list(_STATES, most)
        listening = [*islice(listed, most)]
        seen = self._rows.read_apart(islice(others, most - len(listening)), _read, pace)
        more = next(listed, None) or next(others, None)
        partial = f"only the first {most} sockets are read" if more else ""
        ports = {ends_of(row)[0][1] for row in listening}
        is_changed = seen is not self._seen or ports != self._ports
        if is_changed:
            self._clients = _clients(seen, ports)
        clients = (each.row for _, each in self._clients)
        inodes = [row[3] for row in chain(listening, clients) if row[3]]

        def all_inodes() -> set[int]:
            return {*inodes, *(each.row[3] for each in seen)}

        pids = self._holders.of(inodes, all_inodes, pace)
        self._hold(seen, pids, is_changed=is_changed)
        self._seen, self._ports = seen, ports
        return Sockets(self._listeners(listening, pids), self._connections, partial=partial)

    def _list(self, states: Iterable[int], most: int) -> Iterator[SocketRow]:
        for family in VERSIONS:
            yield from self._listed(family, sum(1 << state for state in states), most)

    def _hold(self, seen: Sequence[_Seen], pids: Mapping[int, int], *, is_changed: bool) -> None:
        """Make the list of connections, clients with their processes, unless it is the same."""
        holders = [pids.get(each.row[3], 0) for _, each in self._clients]
        if not is_changed and holders == self._pids:
            return
        connections = [each.connection for each in seen]
        held: dict[bytes, TcpConnection] = {}
        for (place, (row, connection)), pid in zip(self._clients, holders, strict=True):
            if pid:
                mine, last = replace(connection, pid=pid), self._held.get(row[2])
                connections[place] = held[row[2]] = last if last == mine else mine
        self._connections, self._held, self._pids = connections, held, holders

    def _listeners(self, rows: Sequence[SocketRow], pids: Mapping[int, int]) -> list[Listener]:
        """Return the listeners; of those with the same end, all have the inode of one.

        That is the same one for as long as it listens.
        """
        at: dict[tuple[int, End], list[int]] = {}
        for row in rows:
            at.setdefault((VERSIONS[row[0]], End(*ends_of(row)[0])), []).append(row[3])
        before, self._shown = self._shown, {}
        for place, inodes in at.items():
            last = before.get(place, 0)
            self._shown[place] = last if last in inodes else min(inodes)
        return [
            Listener(*place, pids.get(inode, 0), self._shown[place])
            for place, inodes in at.items()
            for inode in inodes
        ]


def _clients(seen: Sequence[_Seen], ports: Set[int]) -> Sequence[tuple[int, _Seen]]:
    """Return the clients of servers here, on one of these ports, with their places."""
    clients = [item for item in enumerate(seen) if item[1].connection.remote.port in ports]
    if not clients:
        return ()
    found = (each.connection for each in seen)
    servers = {item.name for item in found if item.local.port in ports}
    return [item for item in clients if item[1].connection.name_there in servers]


def _read(row: SocketRow, before: _Seen | None) -> _Seen:
    """Read a connection; ``before`` is what was read of the same one, if anything."""
    family, state, _, inode = row
    local, remote = ends_of(row)
    known = before.connection.inode if before else None
    shown = inode or (None if state in _OPEN else known or 0)
    connection = TcpConnection(
        VERSIONS[family], _STATES[state], End(*local), End(*remote), inode=shown
    )
    return _Seen(row, connection)
