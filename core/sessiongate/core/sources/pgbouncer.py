"""``pgbouncer://USER@HOST:6432``: the clients of a PgBouncer, 1.12 to 1.25.

They are read from its admin console, over one connection that stays open, by a
user in ``stats_users``. Options: ``include_self=true`` shows that connection too;
``timezone=AREA/CITY`` is the zone in which PgBouncer runs and writes local times,
if it is not this machine's; and those of every source in a network
(`core.sources.support.endpoint`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    Observed,
    SourceConfig,
    SourceConfigError,
    SourceError,
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
from sessiongate.core.sources.support.endpoint import (
    CREDENTIAL_OPTIONS,
    TLS_OPTIONS,
    Endpoint,
    flag,
    zone,
)
from sessiongate.core.sources.support.libpq import APPLICATION, Client, QueryResult
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.pacing import Pace, kept, mapped
from sessiongate.core.sources.support.peer import canonical_address
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.runtime.addresses import Address
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Session, SessionState

PGBOUNCER_PORT = 6432
CONSOLE = "pgbouncer"  # the database that is the admin console

# The client states in SHOW CLIENTS. A cancel request is a connection of its own,
# which names the statement to cancel and never becomes a session.
CLIENT_STATES: Mapping[str, SessionState] = {
    "active": session_pb2.SESSION_STATE_STARTED,
    "idle": session_pb2.SESSION_STATE_STARTED,
    "waiting": session_pb2.SESSION_STATE_STARTED,
    "active_cancel_req": session_pb2.SESSION_STATE_DUMMY,
    "waiting_cancel_req": session_pb2.SESSION_STATE_DUMMY,
}

_UNIX = b"unix"  # shown as the address of a Unix socket
# Shown if a cancel request has no name.
_NO_USER = "(nouser)"
_NO_DATABASE = "(nodb)"


_REUSEPORT = b"so_reuseport", b"1"  # as SHOW CONFIG has it
_PARTIAL = (
    "so_reuseport is on: other PgBouncer processes on this port have clients of their own;"
    " name each process as a source, by its own Unix socket (unix_socket_dir) or port"
)
# Connections to a shared port until one reaches the process that was read before. If none
# does, it counts as ended: with eight processes, one is missed once in 5,000 times.
_ATTEMPTS = 64
_MAX_SETTINGS = 1000


class ClientRow(NamedTuple):
    """A line of SHOW CLIENTS or SHOW SERVERS. What this version does not state is None."""

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
    tls: Cell = None  # protocol/cipher/…; empty in the clear
    application_name: Cell = None


async def rows(answer: QueryResult) -> list[ClientRow]:
    """Return an answer's rows by column name. Raises `SourceError` for any other answer."""
    names = list(answer.columns)
    missing = {"database", "connect_time", "ptr"} - set(names)
    if missing:
        raise SourceError(f"what answers is no PgBouncer: it tells no {min(missing)}")
    pick = itemgetter(*(names.index(name) if name in names else -1 for name in ClientRow._fields))
    return await mapped(lambda row: ClientRow._make(pick((*row, None))), answer.rows)


class Clients:
    """Turns rows into sessions; an unchanged row gives the same session object."""

    def __init__(self, times: LocalTime) -> None:
        self._times = times
        self._known: dict[tuple[ClientRow, ClientRow | None], Observed | Unreadable] = {}
        self._last: Observation | None = None

    async def read(
        self, clients: Iterable[ClientRow], servers: Iterable[ClientRow], partial: str = ""
    ) -> Observation:
        """Return the clients' sessions; the last object if unchanged.

        The two lists were not read at the same moment: a server and a client belong
        together only if both say so.
        """
        linked: dict[Cell, ClientRow] = {}
        seen: dict[tuple[ClientRow, ClientRow | None], Observed | Unreadable] = {}
        sessions: list[Observed] = []
        unreadable: list[Unreadable] = []

        def read(client: ClientRow) -> None:
            server = linked.get(client.ptr)
            if server is not None and server.ptr != client.link:
                server = None
            pair = client, server
            if pair in seen:
                return
            item = seen[pair] = self._known.get(pair) or self._read(client, server)
            if isinstance(item, Observed):
                sessions.append(item)
            else:
                unreadable.append(item)

        pace = Pace()
        await mapped(lambda server: linked.update({server.link: server}), servers, pace)
        await mapped(read, clients, pace)
        self._known = seen
        self._last = reuse_if_same(self._last, tuple(sessions), None, tuple(unreadable), partial)
        return self._last

    async def are_others(self, clients: Sequence[ClientRow]) -> bool:
        """Return whether these are clients of another process than those read last.

        They are if none of those is left; without clients last time, return False.
        """
        before = {*await mapped(lambda pair: _identity(pair[0]), self._known)}
        return bool(before) and not await kept(lambda one: _identity(one) in before, clients)

    def _read(self, client: ClientRow, server: ClientRow | None) -> Observed | Unreadable:
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
        accepted = None
        if remote is not None and its_port is not None:
            accepted = TcpLink((remote, its_port), _end(members, "local_addr", "local_port"))
        opened: tuple[TcpLink, ...] = ()
        unreadable = members.unreadable
        if server is not None:
            far = RowReader("SHOW SERVERS", server)
            opened = _connect(session, server, far)
            unreadable += far.unreadable
        know_empty(session, unreadable, "connections")
        return Observed(
            " ".join(map(str, _identity(client))), session, accepted, opened, unreadable
        )

    def _time(self, cell: bytes) -> Timestamp:
        try:
            return self._times.read(decode_text(cell))
        except ValueError as error:
            raise UnreadableError(
                f"{error}; timezone=AREA/CITY states where PgBouncer runs"
            ) from None


class PgBouncerSource:
    """The clients of one PgBouncer process."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        zone: ZoneInfo | None = None,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
    ) -> None:
        """Read times in ``zone``, where PgBouncer runs; None: this machine's zone."""
        # Read more sessions than the core shows, as it shows those it knows first.
        most = 2 * max_sessions
        self._endpoint = endpoint
        self._console = Client(endpoint, CONSOLE, "SHOW CONFIG", needs_setup=False, most=most)
        self._read_over = 0  # the number of the console connection that was last read
        self._missed = 0  # connections since then, each to another process
        self._include_self = include_self
        self._clients = Clients(LocalTime(zone))

    async def observe(self) -> Observation:
        """Return the current clients. Raises `SourceError`, which names PgBouncer."""
        clients, servers = await self._ask()
        while await self._is_another_process(clients) and self._missed < _ATTEMPTS:
            self._missed += 1
            await self._console.close()
            clients, servers = await self._ask()
        self._read_over, self._missed = self._console.connections, 0
        partial = _PARTIAL if self._shares_port() else ""
        return await self._clients.read(clients, servers, partial)

    async def _ask(self) -> tuple[list[ClientRow], list[ClientRow]]:
        answers = await self._console.ask("SHOW CLIENTS", "SHOW SERVERS")
        try:
            clients, servers = [await rows(answer) for answer in answers]
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None
        if not self._include_self:
            own = await self._own(clients)
            clients = await kept(lambda client: client.ptr not in own, clients)
        return clients, servers

    async def _is_another_process(self, clients: Sequence[ClientRow]) -> bool:
        """Return whether a new connection to a shared port has reached another process."""
        is_new = self._read_over != self._console.connections
        return is_new and self._shares_port() and await self._clients.are_others(clients)

    def _shares_port(self) -> bool:
        """Return whether other processes may listen where this one was reached."""
        config = self._console.setup_answer.rows[:_MAX_SETTINGS]
        return not self._endpoint.is_unix and any(row[:2] == _REUSEPORT for row in config)

    async def close(self) -> None:
        """Close the connection."""
        await self._console.close()

    async def _own(self, clients: Iterable[ClientRow]) -> Collection[Cell]:
        """Return the ``ptr`` of the clients that are this source.

        That is the console's client at this end's address, or this process on the
        other side of a Unix socket. If address translation hides both, it is the only
        client with this source's application name.
        """
        here = self._console.local_end()
        console = await kept(_is_console, clients)
        exact = [client.ptr for client in await kept(lambda each: _is_at(each, here), console)]
        return exact or ([console[0].ptr] if len(console) == 1 else [])


def _is_console(client: ClientRow) -> bool:
    """Return whether a client uses the console, and may be this source."""
    is_named = client.application_name in (APPLICATION.encode(), None)
    return is_named and client.database == CONSOLE.encode()


def _is_at(client: ClientRow, here: tuple[str, int] | None) -> bool:
    """Return whether a client is at this address, or is this process, through a Unix socket."""
    if here is None:
        return client.remote_pid == str(os.getpid()).encode()
    members = RowReader("SHOW CLIENTS", client)
    return _end(members, "addr", "port") == here


def _connect(session: Session, row: ClientRow, server: RowReader) -> tuple[TcpLink, ...]:
    """Add a session's server to it; return the connection to that server if it is TCP."""
    end = _end(server, "addr", "port", "connections")
    if end is None and row.addr != _UNIX:
        return ()
    pid = server.read("remote_pid", _pid)
    session.connections.add(
        server=str(Address(*end)) if end else f"unix:{_text(row.port)}",
        connection_id=pid,
        tls_cipher=server.read("tls", _cipher),
    )
    return (TcpLink(_end(server, "local_addr", "local_port"), end, pid),) if end else ()


def _host(members: RowReader, column: str, *fields: str) -> str | None:
    """Return the IP address in a column; None also for a Unix socket."""
    return None if getattr(members.row, column) == _UNIX else members.read(column, _ip, *fields)


def _end(members: RowReader, host: str, port: str, *fields: str) -> tuple[str, int] | None:
    """Return the address and port in two columns; None also for a Unix socket."""
    ip = _host(members, host, *fields)
    its_port = None if ip is None else members.read(port, read_port, *fields)
    return None if ip is None or its_port is None else (ip, its_port)


def _identity(client: ClientRow) -> tuple[str | None, ...]:
    """Return what identifies a client; its ``ptr`` is soon reused, even within a second."""
    stated = client.ptr, client.connect_time, client.addr, client.port, client.remote_pid
    return tuple(map(_text, stated))


def _text(cell: Cell) -> str | None:
    return None if cell is None else decode_text(cell)


def _ip(cell: bytes) -> str:
    """Read an IP address, an IPv4-mapped IPv6 address as IPv4."""
    host = read_address(cell)
    return (host.startswith("::ffff:") and canonical_address(host)) or host


def _pid(cell: bytes) -> int | None:
    """Read the process id that a server gave a connection; None if it gave none."""
    pid = read_integer(cell, -(2**31), 2**32 - 1)
    return pid if pid > 0 else None


def _cipher(cell: bytes) -> str:
    """Read the TLS cipher; empty in the clear."""
    cipher = decode_text(cell).partition("/")[2].partition("/")[0]
    if cell and not cipher:
        raise UnreadableError("expected PROTOCOL/CIPHER")
    return cipher


def open_source(config: SourceConfig) -> PgBouncerSource:
    """Open the PgBouncer that a configuration names. Raises `SourceConfigError`."""
    config.take("timezone", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS)
    endpoint = Endpoint.of(config, port=PGBOUNCER_PORT)
    if endpoint.path not in ("", CONSOLE):
        raise SourceConfigError(
            f"source {config.name}: its console is database {CONSOLE!r}; name none or that one"
        )
    return PgBouncerSource(
        endpoint,
        zone=zone(config),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
    )
