"""The threads in the process list of a MariaDB or MySQL server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from sessiongate.core.sources.base import Unreadable
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.mysql_cells import decoded, integer
from sessiongate.core.sources.support.pacing import Pace, in_order, parts
from sessiongate.core.sources.support.peer import split_port

# The server's name for a client that has not logged in yet.
NOBODY = b"unauthenticated user"
_SYSTEM_USER = b"system user"
# The rows of the server's own threads: Daemon, Slave_IO, Slave_SQL, Slave_worker.
_SYSTEM_COMMAND = re.compile(rb"Daemon|Slave_\w+")

_NO_ID = Unreadable("ID: expected a unique number")


class ThreadRow(NamedTuple):
    """The columns that `Dialect.query` selects for one thread, in this order.

    Each is text, as the server sends it, even a number; None: NULL.
    """

    ident: Cell
    user: Cell
    host: Cell  # HOST:PORT, or a name alone
    database: Cell
    command: Cell
    info: Cell  # the statement; None if statements are not read
    wait: Cell  # the state, if it says that the thread waits for something
    query_id: Cell  # of the client's last request; None: unknown
    idle: Cell  # milliseconds since that request or its end

    @property
    def is_client(self) -> bool:
        """Whether the thread serves a client, and is not one of the server's own."""
        if _SYSTEM_COMMAND.fullmatch(self.command or b""):
            return False
        return self.user != _SYSTEM_USER or split_port(decoded(self.host or b""))[1] is not None


@dataclass(frozen=True, slots=True)
class Threads:
    """The cells of a process list's rows by id, in the order of the ids.

    To make a `ThreadRow` of each takes longer than to see that most are as they were.
    """

    rows: Mapping[int, Sequence[Cell]]
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    async def of(cls, answer: Iterable[Sequence[Cell]]) -> Threads:
        """Read the ids in a result of `Dialect.query`."""
        rows: dict[int, Sequence[Cell]] = {}
        unreadable = []
        pace = Pace()
        async for part in parts(answer, pace):
            for cells in part:
                ident = integer(cells[0])
                if ident is None or ident < 0 or ident in rows:
                    unreadable.append(_NO_ID)
                else:
                    rows[ident] = cells
        ordered = await in_order(rows.items(), itemgetter(0), pace)
        return cls(dict(ordered), tuple(unreadable))
