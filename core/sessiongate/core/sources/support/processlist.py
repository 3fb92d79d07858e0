"""Reads sessions from the process list of a MariaDB or MySQL server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.base import Observation, Observed, TcpLink, Unreadable, know_empty
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.moments import LATEST
from sessiongate.core.sources.support.pacing import Pace, in_order, kept, mapped
from sessiongate.core.sources.support.peer import canonical_address, split_port
from sessiongate.core.sources.support.stability import debounce, reuse_if_same
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES, statement
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session, SessionState

# The server's name for a client that has not logged in yet.
_NOBODY = b"unauthenticated user"
_SYSTEM_USER = b"system user"

# By COMMAND; any other value means that the client is logged in, active or idle.
_STATES: Mapping[bytes, SessionState] = {
    b"Connect": session_pb2.SESSION_STATE_ALLOC,
    b"Killed": session_pb2.SESSION_STATE_STOPPING,
    b"Quit": session_pb2.SESSION_STATE_STOPPING,
}

# The rows of the server's own threads: Daemon, Slave_IO, Slave_SQL, Slave_worker.
_SYSTEM_COMMAND = re.compile(rb"Daemon|Slave_\w+")

_NUMBER = re.compile(rb"-?[0-9]{1,20}")  # 64 bits have no more digits

_NO_ID = Unreadable("ID: expected a unique number")
_NO_COMMAND = Unreadable("COMMAND: expected a command", ("state",))
_NO_IDLE = Unreadable("TIME: expected an integer", ("last_active_time",))


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
    query_id: Cell  # of the client's last request; None: unknown
    idle: Cell  # milliseconds since that request or its end


@dataclass(frozen=True, slots=True)
class Threads:
    """The rows of a process list by id, in the order of the ids, and those without an id."""

    rows: Mapping[int, ThreadRow]
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    async def of(cls, answer: Iterable[Sequence[Cell]]) -> Threads:
        """Read the ids in a result of `Dialect.query`."""
        rows: dict[int, ThreadRow] = {}
        unreadable = []

        def read(cells: Sequence[Cell]) -> None:
            row = ThreadRow._make(cells)
            ident = integer(row.ident)
            if ident is None or ident < 0 or ident in rows:
                unreadable.append(_NO_ID)
            else:
                rows[ident] = row

        pace = Pace()
        await mapped(read, answer, pace)
        return cls(dict(await in_order(rows.items(), _by_ident, pace)), tuple(unreadable))


@dataclass(frozen=True, slots=True)
class Dialect:
    """The SQL that queries a server for its start and its process list.

    Each part takes as few locks as possible on that server.
    """

    start: str  # selects one row with one number: seconds since the epoch
    table: str
    info: str  # in bytes, as close as possible to what the client sent
    query_id: str
    idle: str  # in milliseconds

    @classmethod
    def of(cls, version: str, performance_schema: bool) -> Dialect:
        """Return a server's dialect, by its VERSION() and its @@performance_schema."""
        if "mariadb" in version.lower():
            # This tries each thread's lock without waiting; the performance schema has no port.
            return cls(
                start=_START.format("information_schema"),
                table="information_schema.PROCESSLIST",
                info="INFO_BINARY",  # INFO has no character of more than three bytes
                query_id="QUERY_ID",
                idle="CAST(TIME_MS AS SIGNED)",
            )
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
        # This one takes no mutex that new connections wait for.
        free = performance_schema and numbers >= (8, 0, 22)
        return cls(
            start=_START.format("performance_schema"),
            table=("performance_schema.processlist" if free else "information_schema.PROCESSLIST"),
            info="CAST(INFO AS BINARY)",
            query_id="NULL",
            idle="TIME * 1000",
        )

    def query(self, *, statements: bool, include_self: bool, most: int) -> str:
        """Return the query for the process list, for at most ``most`` `ThreadRow`s."""
        # One byte more than is kept, to detect truncation.
        info = f"LEFT({self.info}, {MAX_STATEMENT_BYTES + 1})" if statements else "NULL"
        where = "" if include_self else " WHERE ID <> CONNECTION_ID()"
        columns = f"ID, USER, HOST, DB, COMMAND, {info}, {self.query_id}, {self.idle}"
        return f"SELECT {columns} FROM {self.table}{where} LIMIT {most}"  # noqa: S608 - all constants


# Uptime is the server's clock now minus its clock when it started, and a statement
# reads the clock only once: the difference is exact, and does not change when the
# clock is set. If the clock is before the start, uptime is 2^64 minus the seconds
# until then, which as a signed number is exact too.
_START = (
    "SELECT CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(VARIABLE_VALUE AS SIGNED)"
    " FROM {}.global_status WHERE VARIABLE_NAME = 'Uptime'"
)


class ProcessList:
    """Turns process lists into observations, and keeps the sessions of the last one.

    It is valid for one run of the server: a restarted server requires a new one.
    """

    def __init__(
        self,
        service: str,
        start: float | None,
        server: tuple[str, int] | None = None,
        *,
        statements: bool = False,
    ) -> None:
        """Take the server's start, in seconds since the epoch, and its address (``server``).

        ``statements`` means that the list includes what the clients run.
        """
        self._service = service
        self._statements = statements
        self._start = start
        self._server = server
        self._attributes: dict[int, Mapping[str, str]] = {}
        self._known: dict[int, _Known] = {}
        self._last: Observation | None = None

    @property
    def run(self) -> tuple[float | None, tuple[str, int] | None]:
        """The server's start and address, for which all of this is valid."""
        return self._start, self._server

    async def unknown_clients(self, threads: Threads) -> list[int]:
        """Return the ids of clients whose connection attributes are unknown."""

        def is_unknown(ident: int) -> bool:
            row = threads.rows[ident]
            return ident not in self._attributes and _is_client(row) and row.user != _NOBODY

        return await kept(is_unknown, threads.rows)

    def remember(self, attributes: Mapping[int, Mapping[str, str]]) -> None:
        """Remember connection attributes, by id; they never change."""
        self._attributes.update(attributes)

    async def read(self, threads: Threads, moment: float) -> Observation:
        """Read the sessions of a process list that arrived at ``moment``.

        ``moment`` is in seconds since the epoch. Sessions are ordered by their ids, which
        the server assigns in ascending order.
        """
        seen: dict[int, _Known] = {}
        attributes: dict[int, Mapping[str, str]] = {}
        sessions: list[Observed] = []

        def read(thread: tuple[int, ThreadRow]) -> None:
            ident, row = thread
            known = self._known_of(ident, row, moment)
            if known is not None:
                seen[ident] = known
                sessions.append(known.observed)
                if ident in self._attributes:
                    attributes[ident] = self._attributes[ident]

        await mapped(read, threads.rows.items())
        self._known, self._attributes = seen, attributes
        self._last = reuse_if_same(self._last, sessions, self._start, threads.unreadable)
        return self._last

    def _known_of(self, ident: int, row: ThreadRow, moment: float) -> _Known | None:
        """Read a row, or reuse its last result; None if it is not a client's."""
        known = self._known.get(ident)
        if known is None or known.stated != row[:-1]:
            return self._made(ident, row, _active(row, moment)) if _is_client(row) else None
        # The server numbers the clients' requests; if it does not, only the idle time
        # shows whether there was another.
        if row.query_id is None or known.active is _NO_IDLE:
            active = _active(row, moment, known.active)
            if active != known.active:
                return self._made(ident, row, active)
        return known

    def _made(self, ident: int, row: ThreadRow, active: _Active) -> _Known:
        unreadable = []
        session = Session(native_id=str(ident), service=self._service)
        if row.user == _NOBODY:
            session.state = session_pb2.SESSION_STATE_ALLOC
        elif row.command is not None:
            session.state = _STATES.get(row.command, session_pb2.SESSION_STATE_STARTED)
        else:
            unreadable.append(_NO_COMMAND)
        if row.user is not None and row.user != _NOBODY:
            session.user = decoded(row.user)
        if row.database is not None:
            session.database = decoded(row.database)
        host, port = split_port(decoded(row.host or b""))
        remote = canonical_address(host)
        if port is not None:
            session.remote, session.port = remote or host, port
        elif host and host != "localhost":  # the name of a client on a Unix socket
            session.remote = remote or host
        if isinstance(active, Unreadable):
            unreadable.append(active)
        elif active is not None:
            session.last_active_time.FromMilliseconds(int(active * 1000))
        attributes = self._attributes.get(ident, {})
        session.connection_attributes.update(attributes)
        if name := attributes.get("program_name"):
            session.application = name
        if row.info is not None:
            query = statement(decoded(row.info))
            if session.HasField("last_active_time"):
                query.receive_time.CopyFrom(session.last_active_time)
            session.queries.append(query)
        elif self._statements:
            know_empty(session, (), "queries")
        client = (remote, port) if remote is not None and port is not None else None
        link = TcpLink(client=client, server=self._server, server_id=ident)
        accepted = link if client or self._server else None
        observed = Observed(str(ident), session, accepted, unreadable=tuple(unreadable))
        return _Known(row[:-1], active, observed)


# When a client was last active, in seconds since the epoch. None: unknown.
_Active: TypeAlias = float | Unreadable | None


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of reading a row."""

    stated: tuple[Cell, ...]  # all of the row except its time
    active: _Active
    observed: Observed


def _by_ident(thread: tuple[int, ThreadRow]) -> int:
    return thread[0]


def decoded(cell: bytes) -> str:
    """Decode text that the server sent, in which clients can put any bytes."""
    return cell.decode(errors="replace")


def integer(cell: Cell) -> int | None:
    """Read an integer that the server sent; None if it is not one."""
    return int(cell) if cell is not None and _NUMBER.fullmatch(cell) else None


def _is_client(row: ThreadRow) -> bool:
    """Return whether a thread serves a client, and is not one of the server's own."""
    if _SYSTEM_COMMAND.fullmatch(row.command or b""):
        return False
    return row.user != _SYSTEM_USER or split_port(decoded(row.host or b""))[1] is not None


def _active(row: ThreadRow, moment: float, before: _Active = None) -> _Active:
    """Return when the client was last active; ``before`` if that is close enough.

    Return None if the server does not state it, or its clock was set meanwhile.
    """
    if row.idle is None:
        return None
    idle = integer(row.idle)
    if idle is None:
        return _NO_IDLE
    if not 0 <= idle / 1000 < moment <= LATEST:
        return None
    return debounce(moment - idle / 1000, before if isinstance(before, float) else None)
