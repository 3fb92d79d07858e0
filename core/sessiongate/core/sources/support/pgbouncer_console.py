"""PgBouncer's admin console: rows of its clients, servers and pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from operator import itemgetter
from typing import NamedTuple

from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.known_rows import KnownRows
from sessiongate.core.sources.support.libpq import LibpqClient, QueryResult
from sessiongate.core.sources.support.pacing import Pace, mapped, parts

CONSOLE = "pgbouncer"  # the database that is the admin console
_REUSEPORT = b"so_reuseport", b"1"  # as in SHOW CONFIG
_MAX_SETTINGS = 1000
_WAITED = "wait", "wait_us"  # columns: for how long a client has waited
_NOT_WAITED = b"0", b"0"


class ClientRow(NamedTuple):
    """A row of SHOW CLIENTS or SHOW SERVERS; None for what this version does not state."""

    database: Cell
    connect_time: Cell
    ptr: Cell
    link: Cell = None  # ptr of a client's server, or of a server's client
    state: Cell = None
    user: Cell = None
    addr: Cell = None  # "unix" for a Unix socket
    port: Cell = None
    local_addr: Cell = None
    local_port: Cell = None
    request_time: Cell = None
    remote_pid: Cell = None  # of a server, or of a client on this machine; or 0
    tls: Cell = None  # protocol/cipher/…; empty without TLS
    application_name: Cell = None
    replication: Cell = None  # "none" except for a replication connection


class Awaiting(Enum):
    """Whether a client waits for the answer to a request, from a server or for one."""

    NOTHING = auto()
    ANSWER = auto()
    UNKNOWN = auto()
    UNREADABLE = auto()


class Shown(NamedTuple):
    """The rows that the console shows at about the same moment."""

    clients: Sequence[ClientRow]
    servers: Sequence[ClientRow]
    awaiting: Mapping[Cell, Awaiting]  # by ``ptr``; the others wait for nothing
    modes: Mapping[Cell, Cell]  # of pools, by database
    now: Cell  # the second in which it was asked, as a ``request_time``


def shares_port(console: LibpqClient, endpoint: Endpoint) -> bool:
    """Return whether other processes may listen where a console was reached.

    The console's set-up query is SHOW CONFIG.
    """
    config = console.setup_answer.rows[:_MAX_SETTINGS]
    return not endpoint.is_unix and any(row[:2] == _REUSEPORT for row in config)


class ClientRows:
    """Turns results into rows; one that is stated again, cell by cell, is the same object."""

    def __init__(self) -> None:
        self._columns: Sequence[str] = ()
        self._rows: KnownRows[tuple[Cell, ...], tuple[Cell, ...], ClientRow] | None = None

    async def read(self, answer: QueryResult) -> Sequence[ClientRow]:
        """Return a result's rows by column name. Raises `SourceError` for any other result."""
        missing = {"database", "connect_time", "ptr"} - {*answer.columns}
        if missing:
            raise SourceError(f"the server is not PgBouncer: its clients have no {min(missing)}")
        if self._rows is None or self._columns != answer.columns:
            self._columns = answer.columns
            ptr = itemgetter(list(answer.columns).index("ptr"))
            self._rows = KnownRows(ptr, stated=lambda part: part)
        pick = _picking(answer.columns, ClientRow._fields)

        def make(cells: tuple[Cell, ...], before: ClientRow | None) -> ClientRow:
            # `ClientRow._make` is Python code, and takes three times as long.
            row = tuple.__new__(ClientRow, pick(cells))
            # The columns that it lacks may be the only ones that have changed.
            return before if before == row else row

        return await self._rows.read(answer.rows, make, Pace())


async def rows(answer: QueryResult) -> Sequence[ClientRow]:
    """Return the rows of a single result, as `ClientRows` does."""
    return await ClientRows().read(answer)


async def awaiting(answer: QueryResult) -> Mapping[Cell, Awaiting]:
    """Return what the clients in SHOW CLIENTS wait for, unless it is nothing.

    PgBouncer states for how long, in seconds and microseconds beside them; as that grows, it is
    not part of a client's row.
    """
    found: dict[Cell, Awaiting] = {}
    pick, waited = (_picking(answer.columns, names) for names in (("ptr", *_WAITED), _WAITED))
    async for part in parts(answer.rows, Pace()):
        if [*map(waited, part)].count(_NOT_WAITED) == len(part):
            continue  # the usual one
        for ptr, seconds, rest in map(pick, part):
            if (seconds, rest) != _NOT_WAITED:
                is_readable = _is_number(seconds) and _is_number(rest)
                found[ptr] = Awaiting.ANSWER if is_readable else Awaiting.UNREADABLE
    return found


async def pool_modes(answer: QueryResult) -> Mapping[Cell, Cell]:
    """Return the mode of each database's pools by SHOW POOLS; None if they differ."""
    modes: dict[Cell, Cell] = {}

    def know(cells: tuple[Cell, ...]) -> None:
        database, mode = cells
        modes[database] = mode if modes.get(database, mode) == mode else None

    await mapped(know, _cells(answer, "database", "pool_mode"))
    return modes


def _cells(answer: QueryResult, *columns: str) -> Iterator[tuple[Cell, ...]]:
    """Return the cells of these columns, row by row; None for those that are missing."""
    return map(_picking(answer.columns, columns), answer.rows)


def _picking(
    columns: Sequence[str], names: Sequence[str]
) -> Callable[[tuple[Cell, ...]], tuple[Cell, ...]]:
    """Return what picks the cells of columns by name; None for those that are missing."""
    present = list(columns)
    pick = itemgetter(*(present.index(name) if name in present else -1 for name in names))
    return pick if {*names} <= {*present} else lambda row: pick((*row, None))


def _is_number(cell: Cell) -> bool:
    return cell is not None and cell.isdigit()
