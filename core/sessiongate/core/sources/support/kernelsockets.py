"""The TCP sockets of this machine, as Linux's kernel lists them.

psutil reads the same more slowly, on every system: `sockets.read_sockets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

import psutil

from sessiongate.core.sources.support.holders import Holders
from sessiongate.core.sources.support.pacing import Pace, parts_apart
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
        self._seen: dict[bytes, _Seen] = {}
        self._shown: dict[tuple[int, End], int] = {}  # the listeners' inodes
        self._holders = Holders()

    def read(self, most: int) -> Sockets:
        """Read at most ``most`` sockets, listening ones first; run this in a thread.

        Listening sockets have their process. So have the clients of connections that both
        ends of are here; no other process is looked up. Raises OSError.
        """
        pace = Pace()
        rows = self._rows(most)
        listening: list[SocketRow] = []
        seen: dict[bytes, _Seen] = {}
        for part in parts_apart(islice(rows, most), pace):
            for row in part:
                if row[1] == _LISTEN:
                    listening.append(row)
                else:
                    before = self._seen.get(row[2])
                    is_same = before is not None and before.row == row
                    seen[row[2]] = before if before and is_same else _read(row, before)
        partial = "" if next(rows, None) is None else f"only the first {most} sockets are read"
        self._seen = seen
        listeners = self._identify(listening, pace)
        return Sockets(listeners, [each.connection for each in seen.values()], partial=partial)

    def _rows(self, most: int) -> Iterator[SocketRow]:
        for states in ([_LISTEN], _STATES):
            for family in VERSIONS:
                yield from self._listed(family, sum(1 << state for state in states), most)

    def _identify(self, listening: Sequence[SocketRow], pace: Pace) -> list[Listener]:
        """Look up the processes; return the listeners, and set those of clients in place."""
        ports = {ends_of(row)[0][1] for row in listening}
        clients = [each for each in self._seen.values() if each.connection.remote.port in ports]
        if clients:
            found = (each.connection for each in self._seen.values())
            servers = {item.name for item in found if item.local.port in ports}
            clients = [each for each in clients if each.connection.name_there in servers]
        inodes = [row[3] for row in chain(listening, (each.row for each in clients)) if row[3]]

        def listed() -> set[int]:
            return {*inodes, *(each.row[3] for each in self._seen.values())}

        pids = self._holders.of(inodes, listed, pace)
        for row, connection in clients:
            pid = pids.get(row[3], 0)
            if pid != connection.pid:
                self._seen[row[2]] = _Seen(row, replace(connection, pid=pid))
        return self._listeners(listening, pids)

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
