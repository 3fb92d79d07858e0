"""A source's own connections, which it acts or has read by: they are no sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from sessiongate.core.sources.support.pacing import kept
from sessiongate.runtime.elapsed import elapsed

# Seconds from the opening of a connection for which its identity is waited for: a log-in is much
# faster, and one that hangs delays no later read.
_MOST_WAIT = 1.0
_MOST = 1000  # connections that are remembered
_T = TypeVar("_T")


class OwnConnection:
    """One connection, from before it is opened."""

    def __init__(self) -> None:
        self.opened = elapsed()
        self.idents: set[Hashable] = set()  # by which it may be listed
        self.is_known = asyncio.Event()  # or never will be
        self.closed: float | None = None  # on `elapsed`

    def know(self, *idents: Hashable) -> None:
        """Note by what the server lists this connection."""
        self.idents.update(idents)
        self.is_known.set()


class OwnConnections:
    """Leaves a source's own connections out of what its server lists."""

    def __init__(self, *, are_shown: bool = False) -> None:
        self._are_shown = are_shown
        self._connections: list[OwnConnection] = []
        self._reader: OwnConnection | None = None

    def reads(self, ident: Hashable) -> None:
        """Note by what the server lists the connection that reads it.

        The one before was closed, perhaps amid an answer: the server may notice that late.
        """
        reader = self._reader
        if self._are_shown or (reader is not None and ident in reader.idents):
            return
        if reader is not None:
            reader.closed = elapsed()
        self._reader = OwnConnection()
        self._reader.know(ident)
        self._connections.append(self._reader)
        self._forget()

    @contextmanager
    def opening(self) -> Iterator[OwnConnection]:
        """Yield a connection that is opened and closed in the block."""
        connection = OwnConnection()
        if not self._are_shown:
            self._connections.append(connection)
        try:
            yield connection
        finally:
            connection.closed = elapsed()
            connection.is_known.set()
            if not connection.idents and connection in self._connections:
                self._connections.remove(connection)  # it was never opened, as far as is known
            self._forget()

    def _forget(self) -> None:
        """Remember no more than some, of a server that is not read meanwhile."""
        del self._connections[:-_MOST]

    async def left_out(
        self, rows: Sequence[_T], ident: Callable[[_T], Hashable], requested: float
    ) -> Sequence[_T]:
        """Return the rows without own connections; they were ``requested`` then, on `elapsed`.

        A connection that is closed is remembered until rows requested later lack it: the server
        may notice that late.
        """
        if not self._connections:
            return rows
        for connection in [*self._connections]:
            with suppress(TimeoutError):
                async with asyncio.timeout(connection.opened + _MOST_WAIT - elapsed()):
                    await connection.is_known.wait()
        own = frozenset[Hashable]().union(*(each.idents for each in self._connections))
        listed: set[Hashable] = set()

        def is_others(row: _T) -> bool:
            if (name := ident(row)) not in own:
                return True
            listed.add(name)
            return False

        others = await kept(is_others, rows)
        self._connections = [
            each
            for each in self._connections
            if each.closed is None or each.closed >= requested or not listed.isdisjoint(each.idents)
        ]
        return others
