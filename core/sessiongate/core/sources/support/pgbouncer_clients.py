"""The clients of a PgBouncer, read from rows of its admin console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    TcpLink,
    Unreadable,
    UnreadableError,
    know_empty,
)
from sessiongate.core.sources.support.cells import (
    Cell,
    RowReader,
    decode_text,
    read_address,
    read_integer,
    read_port,
)
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.pacing import Pace, kept, mapped, parts
from sessiongate.core.sources.support.peer import shown_address
from sessiongate.core.sources.support.pgbouncer_console import (
    CONSOLE,
    Awaiting,
    ClientRow,
    Shown,
)
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.runtime.addresses import Address
from sessiongate.v1 import session_pb2
from sessiongate.v1.activities import WORKING
from sessiongate.v1.session_pb2 import ActivityState, Session, SessionState

# The client states in SHOW CLIENTS. A cancel request is a separate connection, which
# names the statement to cancel and never becomes a session.
CLIENT_STATES: Mapping[str, SessionState] = {
    "active": session_pb2.SESSION_STATE_STARTED,
    "idle": session_pb2.SESSION_STATE_STARTED,
    "waiting": session_pb2.SESSION_STATE_STARTED,
    "active_cancel_req": session_pb2.SESSION_STATE_DUMMY,
    "waiting_cancel_req": session_pb2.SESSION_STATE_DUMMY,
}

# The activity of a client in such a state. An active one has a server, or asks for nothing.
CLIENT_ACTIVITIES: Mapping[str, ActivityState] = {
    "idle": session_pb2.ACTIVITY_STATE_IDLE,
    "waiting": session_pb2.ACTIVITY_STATE_WAITING,
    "active_cancel_req": session_pb2.ACTIVITY_STATE_ACTIVE,
    "waiting_cancel_req": session_pb2.ACTIVITY_STATE_WAITING,
}
_ACTIVE = b"active"
_WAITS_FOR = "server connection"
_TRANSACTION = b"transaction"  # a pool's mode
_NO_REPLICATION = b"none"

_CONSOLE = CONSOLE.encode()
_UNIX = b"unix"  # shown as the address of a Unix socket

# Shown for a cancel request, which has no name.
_NO_USER = "(nouser)"

_NO_DATABASE = "(nodb)"


# A client, its server if it has one, whether it has one only in a transaction, and whether it
# waits.
LinkedClient: TypeAlias = tuple[ClientRow, ClientRow | None, bool, Awaiting]


class _Given(NamedTuple):
    """The rows that clients are read from."""

    clients: Sequence[ClientRow]
    servers: Sequence[ClientRow]
    awaiting: Mapping[Cell, Awaiting]  # by ``ptr``; the others wait for nothing
    pooled: Set[Cell]  # databases


class Clients:
    """Turns rows into sessions; an unchanged row gives the same session object."""

    def __init__(self, times: LocalTime) -> None:
        self._times = times
        # By ``ptr``. If the same one is stated twice, the second is by all that is stated.
        self._known: dict[Cell | LinkedClient, tuple[LinkedClient, Observed | Unreadable]] = {}
        self._given: _Given | None = None  # what was read last, and what became of it
        self._sessions: tuple[Observed, ...] = ()
        self._unreadable: tuple[Unreadable, ...] = ()
        self._last: Observation | None = None

    async def read(self, shown: Shown, partial: str = "") -> Observation:
        """Return the clients' sessions; the last observation if unchanged.

        The two lists were not read at the same moment: a server and a client belong
        together only if each refers to the other.
        """
        pace = Pace()
        given = _Given(
            shown.clients,
            shown.servers,
            await _awaiting(shown, pace),
            {name for name, mode in shown.modes.items() if mode == _TRANSACTION},
        )
        if given != self._given:  # a row that is stated again is the same object
            await self._take(given, pace)
            self._given = given
        self._last = reuse_if_same(self._last, self._sessions, None, self._unreadable, partial)
        return self._last

    async def _take(self, given: _Given, pace: Pace) -> None:
        """Take over what has changed since it was read last."""
        linked: dict[Cell, ClientRow] = {}
        async for servers_part in parts(given.servers, pace):
            linked.update((server.link, server) for server in servers_part)
        seen: dict[Cell | LinkedClient, tuple[LinkedClient, Observed | Unreadable]] = {}
        sessions: list[Observed] = []
        unreadable: list[Unreadable] = []
        awaiting, nothing, pooled = given.awaiting.get, Awaiting.NOTHING, given.pooled
        async for part in parts(given.clients, pace):
            for client in part:
                server = linked.get(client.ptr)
                pair = (
                    client,
                    server if server and server.ptr == client.link else None,
                    client.database in pooled,
                    awaiting(client.ptr, nothing),
                )
                first = seen.get(client.ptr)
                if first is not None and (first[0] == pair or pair in seen):
                    continue
                key = client.ptr if first is None else pair
                known = self._known.get(key)
                if known is None or known[0] != pair:
                    known = pair, self._read(*pair)
                seen[key] = known
                if isinstance(known[1], Observed):
                    sessions.append(known[1])
                else:
                    unreadable.append(known[1])
        self._known, self._sessions, self._unreadable = seen, tuple(sessions), tuple(unreadable)

    async def are_others(self, clients: Sequence[ClientRow]) -> bool:
        """Return whether these clients are another process's than those read last.

        They are if none of the last ones remain; False if there were none.
        """
        before = {*await mapped(lambda known: _identity(known[0][0]), self._known.values())}
        return bool(before) and not await kept(lambda one: _identity(one) in before, clients)

    def _read(
        self, client: ClientRow, server: ClientRow | None, is_pooled: bool, awaiting: Awaiting
    ) -> Observed | Unreadable:
        for name in ("ptr", "connect_time"):
            if not getattr(client, name):
                return Unreadable(f"SHOW CLIENTS {name}: expected a text")
        members = RowReader("SHOW CLIENTS", client)
        remote = _host(members, "addr", "remote")
        its_port = None if client.addr in (None, _UNIX) else members.read("port", read_port, "port")
        database = _text(client.database) or _NO_DATABASE
        user = _text(client.user)
        session = Session(
            service=database,
            native_id=_text(client.ptr),
            state=CLIENT_STATES.get(
                _text(client.state) or "", session_pb2.SESSION_STATE_UNSPECIFIED
            ),
            user=None if user == _NO_USER else user,
            database=None if database == _NO_DATABASE else database,
            application=_text(client.application_name) or None,
            remote=remote,
            port=its_port,
            connect_time=members.read("connect_time", self._time, "connect_time"),
            last_active_time=members.read("request_time", self._time, "last_active_time"),
            tls_cipher=members.read("tls", _cipher, "tls_cipher"),
        )
        state = _activity(client, awaiting, is_pooled=is_pooled)
        if state is not None:
            _add_activity(session, client, state)
        accepted = None
        if remote is not None and its_port is not None:
            accepted = TcpLink((remote, its_port), client_end(members, "local_addr", "local_port"))
        opened: tuple[TcpLink, ...] = ()
        unreadable = members.unreadable
        if awaiting is Awaiting.UNREADABLE:
            unreadable += (Unreadable("SHOW CLIENTS wait: expected a number of seconds"),)
        if server is not None:
            far = RowReader("SHOW SERVERS", server)
            opened = _connect(session, server, far)
            unreadable += far.unreadable
        know_empty(session, unreadable, "connections")
        return Observed(client_key(client), session, accepted, opened, unreadable)

    def _time(self, cell: bytes) -> Timestamp:
        try:
            return self._times.read(decode_text(cell))
        except ValueError as error:
            raise UnreadableError(f"{error}; set timezone=AREA/CITY to PgBouncer's zone") from None


async def _awaiting(shown: Shown, pace: Pace) -> Mapping[Cell, Awaiting]:
    """Return what clients wait for, unless it is nothing."""
    # If its request came in the same round of PgBouncer's loop as the console's, a client has
    # waited for no time.
    now = await kept(lambda client: client.request_time == shown.now, shown.clients, pace)
    return {**{client.ptr: Awaiting.UNKNOWN for client in now if client.link}, **shown.awaiting}


def _activity(client: ClientRow, awaiting: Awaiting, *, is_pooled: bool) -> ActivityState | None:
    """Return what a client does, if PgBouncer says so."""
    if client.database == _CONSOLE:
        return None
    if client.state != _ACTIVE:
        return CLIENT_ACTIVITIES.get(_text(client.state) or "")
    if awaiting is Awaiting.ANSWER:
        return session_pb2.ACTIVITY_STATE_ACTIVE if client.link else None
    if awaiting is Awaiting.NOTHING and client.link == b"":
        return session_pb2.ACTIVITY_STATE_IDLE
    # In session pooling, and for replication, a client keeps its server outside of transactions.
    is_pooled = is_pooled and client.replication in (None, _NO_REPLICATION)
    if awaiting is Awaiting.NOTHING and client.link and is_pooled:
        return session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION
    return None


def _add_activity(session: Session, client: ClientRow, state: ActivityState) -> None:
    session.activity.state = state
    session.activity.native = _text(client.state) or ""
    if state == session_pb2.ACTIVITY_STATE_WAITING:
        session.activity.wait = _WAITS_FOR
    # When an answer came is not stated.
    if state in WORKING and session.HasField("last_active_time"):
        session.activity.since_time.CopyFrom(session.last_active_time)


def _connect(session: Session, row: ClientRow, server: RowReader) -> tuple[TcpLink, ...]:
    """Add its server to a session; return the connection to that server if it is TCP."""
    end = client_end(server, "addr", "port", "connections")
    if end is None and row.addr != _UNIX:
        return ()
    pid = server.read("remote_pid", _pid)
    session.connections.add(
        server=str(Address(*end)) if end else f"unix:{_text(row.port)}",
        connection_id=pid,
        tls_cipher=server.read("tls", _cipher),
    )
    return (TcpLink(client_end(server, "local_addr", "local_port"), end, pid),) if end else ()


def _host(members: RowReader, column: str, *fields: str) -> str | None:
    """Return the IP address in a column; None also for a Unix socket."""
    return None if getattr(members.row, column) == _UNIX else members.read(column, _ip, *fields)


def client_end(members: RowReader, host: str, port: str, *fields: str) -> tuple[str, int] | None:
    """Return the address and port in two columns; None also for a Unix socket."""
    ip = _host(members, host, *fields)
    its_port = None if ip is None else members.read(port, read_port, *fields)
    return None if ip is None or its_port is None else (ip, its_port)


def _identity(client: ClientRow) -> tuple[Cell, ...]:
    """Return what identifies a client; its ``ptr`` may be reused within a second."""
    return client.ptr, client.connect_time, client.addr, client.port, client.remote_pid


def client_key(client: ClientRow) -> str:
    """Return the key of a client's session."""
    return decode_text(b" ".join([b"None" if cell is None else cell for cell in _identity(client)]))


def _text(cell: Cell) -> str | None:
    return None if cell is None else decode_text(cell)


def _ip(cell: bytes) -> str:
    """Read an IP address, an IPv4-mapped IPv6 address as IPv4."""
    return shown_address(read_address(cell))


def _pid(cell: bytes) -> int | None:
    """Read the process id that a server assigned to a connection; None if none."""
    pid = read_integer(cell, -(2**31), 2**32 - 1)
    return pid if pid > 0 else None


def _cipher(cell: bytes) -> str:
    """Read the TLS cipher; empty without TLS."""
    cipher = decode_text(cell).partition("/")[2].partition("/")[0]
    if cell and not cipher:
        raise UnreadableError("expected PROTOCOL/CIPHER")
    return cipher
