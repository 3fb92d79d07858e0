"""The process list of a MariaDB or MySQL server, read: its rows into observed sessions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from core.sources.base import Observation, Observed, Wire
from core.sources.peer import address, split_port
from core.sources.statement import MAX_BYTES, statement
from core.sources.steady import again, steadied
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session, SessionState

# What the server calls a client that has not logged in yet.
_NOBODY = "unauthenticated user"
_SYSTEM_USER = "system user"

# By COMMAND; all others mean that the client is logged in, and served or waited for.
_STATES: Mapping[str, SessionState] = {
    "Connect": session_pb2.SESSION_STATE_ALLOC,
    "Killed": session_pb2.SESSION_STATE_STOPPING,
    "Quit": session_pb2.SESSION_STATE_STOPPING,
}

# The rows of the server's own threads: Daemon, Slave_IO, Slave_SQL, Slave_worker.
_SYSTEM_COMMAND = re.compile(r"Daemon|Slave_\w+")


class Row(NamedTuple):
    """What `Dialect.query` selects of one thread, in this order."""

    ident: int
    user: str
    host: str | None  # HOST:PORT, or a name alone
    database: str | None
    command: str
    info: str | None  # the statement; None where statements are not read
    query_id: int | None  # of the last thing that the client asked for; None: not known
    idle: int | None  # milliseconds since the client asked for it, or got the answer


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is asked for its start and its process list.

    Each is what takes the fewest locks on that server.
    """

    start: str  # one row with one number: seconds since the epoch
    table: str
    query_id: str
    idle: str  # in milliseconds

    @classmethod
    def of(cls, version: str, performance_schema: bool) -> Dialect:
        """The dialect of a server, by its VERSION() and its @@performance_schema."""
        if "mariadb" in version.lower():
            # Tries each thread's lock, and waits for none; the performance schema has no port.
            return cls(
                start=_START.format("information_schema"),
                table="information_schema.PROCESSLIST",
                query_id="QUERY_ID",
                idle="CAST(TIME_MS AS SIGNED)",
            )
        numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
        # Filled from instrumentation, without the mutex that new connections wait for.
        free = performance_schema and numbers >= (8, 0, 22)
        return cls(
            start=_START.format("performance_schema"),
            table=("performance_schema.processlist" if free else "information_schema.PROCESSLIST"),
            query_id="NULL",
            idle="TIME * 1000",
        )

    def query(self, *, statements: bool, include_self: bool) -> str:
        """The query for the process list, as `Row`s."""
        # One character more than is kept, so that a cut is seen.
        info = f"LEFT(INFO, {MAX_BYTES + 1})" if statements else "NULL"
        where = "" if include_self else " WHERE ID <> CONNECTION_ID()"
        columns = f"ID, USER, HOST, DB, COMMAND, {info}, {self.query_id}, {self.idle}"
        return f"SELECT {columns} FROM {self.table}{where}"  # noqa: S608 - constants all


# Uptime is the server's clock now less its clock when it started, and the clock
# that a statement sees is read once: the difference is exact, and stays what it
# was when that clock is set.
_START = (
    "SELECT CAST(UNIX_TIMESTAMP() - VARIABLE_VALUE AS SIGNED)"
    " FROM {}.global_status WHERE VARIABLE_NAME = 'Uptime'"
)


class ProcessList:
    """Turns process lists into observations, and remembers what it made of the last one.

    It is of one run of the server: a server that started again needs a new one.
    """

    def __init__(self, service: str, start: float, server: tuple[str, int] | None = None) -> None:
        """``start`` is the server's, in seconds since the epoch, ``server`` its address."""
        self._service = service
        self._start = start
        self._server = server
        self._attributes: dict[int, Mapping[str, str]] = {}
        self._known: dict[int, _Known] = {}
        self._last: Observation | None = None

    @property
    def run(self) -> tuple[float, tuple[str, int] | None]:
        """The server's start and address: of another run, nothing here holds."""
        return self._start, self._server

    def strangers(self, rows: Iterable[Row]) -> list[int]:
        """Ids of the clients among ``rows`` whose connection attributes are not known yet."""
        return [
            row.ident
            for row in rows
            if row.ident not in self._attributes and _is_client(row) and row.user != _NOBODY
        ]

    def introduce(self, attributes: Mapping[int, Mapping[str, str]]) -> None:
        """Take note of connection attributes, by id. They never change."""
        self._attributes.update(attributes)

    def read(self, rows: Iterable[Row], moment: float) -> Observation:
        """The sessions of a process list that came at ``moment``, in seconds since the epoch.

        Sessions are in the order of their ids, in which the server gave them.
        """
        seen: dict[int, _Known] = {}
        for row in sorted(rows, key=itemgetter(0)):
            known = self._known.get(row.ident)
            stated = row[:-1]
            if known is None or known.stated != stated:
                if _is_client(row):
                    seen[row.ident] = self._made(row, _active(row, moment))
                continue
            # The server counts what clients ask for; where it does not, only the
            # time since then tells whether they asked again.
            if row.query_id is None:
                active = _active(row, moment)
                if active is not None:
                    active = steadied(active, known.active)
                if active != known.active:
                    known = self._made(row, active)
            seen[row.ident] = known
        self._known = seen
        self._attributes = {key: self._attributes[key] for key in seen if key in self._attributes}
        sessions = [known.observed for known in seen.values()]
        self._last = again(self._last, sessions, self._start)
        return self._last

    def _made(self, row: Row, active: float | None) -> _Known:
        session = Session(
            native_id=str(row.ident),
            service=self._service,
            state=_STATES.get(row.command, session_pb2.SESSION_STATE_STARTED),
            database=row.database,
        )
        if row.user == _NOBODY:
            session.state = session_pb2.SESSION_STATE_ALLOC
        else:
            session.user = row.user
        host, port = split_port(row.host or "")
        remote = address(host)
        if port is not None:
            session.remote, session.port = remote or host, port
        elif host and host != "localhost":  # which is what the client of a Unix socket is called
            session.remote = remote or host
        if active is not None:
            session.last_active_time.FromMilliseconds(int(active * 1000))
        attributes = self._attributes.get(row.ident, {})
        session.connection_attributes.update(attributes)
        if name := attributes.get("program_name"):
            session.application = name
        if row.info is not None:
            query = statement(row.info)
            if active is not None:
                query.receive_time.CopyFrom(session.last_active_time)
            session.queries.append(query)
        client = (remote, port) if remote is not None and port is not None else None
        wire = Wire(client=client, server=self._server, server_id=row.ident)
        accepted = wire if client or self._server else None
        return _Known(row[:-1], active, Observed(str(row.ident), session, accepted))


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of a row."""

    stated: tuple[object, ...]  # all of the row but its time
    active: float | None  # when the client last did anything, in seconds since the epoch
    observed: Observed


def _is_client(row: Row) -> bool:
    """Whether a thread serves a client, and is none of the server's own."""
    if _SYSTEM_COMMAND.fullmatch(row.command):
        return False
    return row.user != _SYSTEM_USER or split_port(row.host or "")[1] is not None


def _active(row: Row, moment: float) -> float | None:
    """When the client last did anything. None where the server's clock was set meanwhile."""
    return (
        moment - row.idle / 1000 if row.idle is not None and 0 <= row.idle / 1000 < moment else None
    )
