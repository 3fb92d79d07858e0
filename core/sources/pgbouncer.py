"""``pgbouncer://USER@HOST:6432``: the clients of a PgBouncer, 1.12 to 1.25.

They are read from its admin console, over one connection that stays open, by a
user who is one of ``stats_users``. Options: ``include_self=true`` shows that
connection too; ``timezone=AREA/CITY`` is where PgBouncer runs, which writes
local times, where that is not this machine's zone; and those of every source in
a network (`core.sources.network`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from core.sources.base import (
    Observation,
    Observed,
    SourceConfig,
    SourceConfigError,
    SourceError,
    Wire,
)
from core.sources.libpq import APPLICATION, Answer, Client
from core.sources.localtime import LocalTime
from core.sources.network import CREDENTIAL_OPTIONS, TLS_OPTIONS, Endpoint, flag, zone
from core.sources.peer import address
from core.sources.steady import again
from runtime.address import Address
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import BackendConnection, Session, SessionState

DEFAULT_PORT = 6432
CONSOLE = "pgbouncer"  # the database that is the admin console

# What SHOW CLIENTS calls a client's state. A cancel request is a connection of its
# own, which says whose statement to cancel and never becomes a session.
STATES: Mapping[str, SessionState] = {
    "active": session_pb2.SESSION_STATE_STARTED,
    "idle": session_pb2.SESSION_STATE_STARTED,
    "waiting": session_pb2.SESSION_STATE_STARTED,
    "active_cancel_req": session_pb2.SESSION_STATE_DUMMY,
    "waiting_cancel_req": session_pb2.SESSION_STATE_DUMMY,
}

_UNIX = "unix"  # stands for the address of a Unix socket
# Stand for a name where a cancel request has none.
_NO_USER = "(nouser)"
_NO_DATABASE = "(nodb)"


class Row(NamedTuple):
    """A line of SHOW CLIENTS or SHOW SERVERS. What this version does not tell is None."""

    database: str
    connect_time: str
    ptr: str
    link: str | None = None  # ptr of the server that a client has, or the other way round
    state: str | None = None
    user: str | None = None
    addr: str | None = None  # "unix" for a Unix socket
    port: int | None = None
    local_addr: str | None = None
    local_port: int | None = None
    request_time: str | None = None
    remote_pid: int | None = None  # of a server, or of a client on this machine; or 0
    tls: str | None = None  # protocol/cipher/…; empty in the clear
    application_name: str | None = None

    @property
    def far_end(self) -> tuple[str, int] | None:
        """The address and port of who is connected; None through a Unix socket."""
        return _end(self.addr, self.port)

    @property
    def near_end(self) -> tuple[str, int] | None:
        """PgBouncer's own address and port; None through a Unix socket."""
        return _end(self.local_addr, self.local_port)

    @property
    def cipher(self) -> str | None:
        """The TLS cipher; empty in the clear."""
        return self.tls and self.tls.partition("/")[2].partition("/")[0]


def rows(answer: Answer) -> list[Row]:
    """What an answer holds, by its columns' names. Raises `SourceError` for another answer."""
    names = list(answer.columns)
    missing = {"database", "connect_time", "ptr"} - set(names)
    if missing:
        raise SourceError(f"what answers is no PgBouncer: it tells no {min(missing)}")
    pick = itemgetter(*(names.index(name) if name in names else -1 for name in Row._fields))
    return [Row._make(pick((*row, None))) for row in answer.rows]


class Clients:
    """Turns rows into sessions. Of a row that is as it was, the session is the same object."""

    def __init__(self, times: LocalTime) -> None:
        self._times = times
        self._known: dict[tuple[Row, Row | None], Observed] = {}
        self._last: Observation | None = None

    def read(self, clients: Iterable[Row], servers: Iterable[Row]) -> Observation:
        """The sessions that the clients are; the last object if unchanged.

        The two were not read at one moment: a server and a client are together
        where both say so. Raises `SourceError` for a time that makes no sense.
        """
        linked = {server.link: server for server in servers if server.link}
        known, self._known = self._known, {}
        for client in clients:
            server = linked.get(client.ptr)
            if server is not None and server.ptr != client.link:
                server = None
            pair = client, server
            self._known[pair] = known.get(pair) or self._observed(client, server)
        self._last = again(self._last, tuple(self._known.values()), None)
        return self._last

    def _observed(self, client: Row, server: Row | None) -> Observed:
        far = client.far_end
        session = Session(
            service=client.database,
            native_id=client.ptr,
            state=STATES.get(client.state or "", session_pb2.SESSION_STATE_UNSPECIFIED),
            user=None if client.user == _NO_USER else client.user,
            database=None if client.database == _NO_DATABASE else client.database,
            application=client.application_name or None,
            remote=far[0] if far else None,
            port=far[1] if far else None,
            connect_time=self._time(client.connect_time),
            last_active_time=self._time(client.request_time),
            tls_cipher=client.cipher,
            connections=[_connection(server)] if server else [],
        )
        # A place in memory is soon used again, within the same second too.
        key = f"{client.ptr} {client.connect_time} {client.addr} {client.port} {client.remote_pid}"
        accepted = Wire(client=far, server=client.near_end) if far else None
        return Observed(key, session, accepted=accepted, opened=_opened(server))

    def _time(self, text: str | None) -> Timestamp | None:
        if text is None:
            return None
        try:
            return Timestamp(seconds=self._times.read(text))
        except ValueError as error:
            raise SourceError(
                f"{error}: where PgBouncer runs is stated by timezone=AREA/CITY"
            ) from None


class PgBouncerSource:
    """The clients of one PgBouncer process."""

    def __init__(
        self, endpoint: Endpoint, *, zone: ZoneInfo | None = None, include_self: bool = False
    ) -> None:
        """``zone`` is where PgBouncer runs; None: where this runs."""
        self._endpoint = endpoint
        self._console = Client(endpoint, CONSOLE)
        self._include_self = include_self
        self._clients = Clients(LocalTime(zone))

    async def observe(self) -> Observation:
        """The clients as they are. Raises `SourceError`, which names PgBouncer."""
        answers = await self._console.ask("SHOW CLIENTS", "SHOW SERVERS")
        try:
            clients, servers = map(rows, answers)
            if not self._include_self:
                own = self._own(clients)
                clients = [client for client in clients if client.ptr not in own]
            return self._clients.read(clients, servers)
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._console.close()

    def _own(self, clients: Iterable[Row]) -> Collection[str]:
        """Which clients are this source, by ``ptr``.

        The console's client that is at this end's address, or is this process
        on the other side of a Unix socket. Where address translation hides both:
        the only one that calls itself as this source does.
        """
        here = self._console.local_end()
        console = [
            client
            for client in clients
            if client.database == CONSOLE and client.application_name in (APPLICATION, None)
        ]
        exact = [
            client.ptr
            for client in console
            if (client.far_end == here if here else client.remote_pid == os.getpid())
        ]
        return exact or ([console[0].ptr] if len(console) == 1 else [])


def _opened(server: Row | None) -> tuple[Wire, ...]:
    if server is None or server.far_end is None:
        return ()
    return (Wire(client=server.near_end, server=server.far_end, server_id=_pid(server)),)


def _connection(server: Row) -> BackendConnection:
    end = server.far_end
    name = str(Address(*end)) if end else f"{server.addr}:{server.port}"
    return BackendConnection(server=name, connection_id=_pid(server), tls_cipher=server.cipher)


def _pid(server: Row) -> int | None:
    """The process id that a server gave this connection."""
    return server.remote_pid if server.remote_pid and server.remote_pid > 0 else None


def _end(host: str | None, port: int | None) -> tuple[str, int] | None:
    if not host or host == _UNIX or not port:
        return None
    mapped = host.startswith("::ffff:") and address(host)
    return (mapped or host), port


def open_source(config: SourceConfig) -> PgBouncerSource:
    """The PgBouncer that a configuration names. Raises `SourceConfigError`."""
    config.take("timezone", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS)
    endpoint = Endpoint.of(config, port=DEFAULT_PORT)
    if endpoint.path not in ("", CONSOLE):
        raise SourceConfigError(
            f"source {config.name}: its console is database {CONSOLE!r}; name none or that one"
        )
    return PgBouncerSource(endpoint, zone=zone(config), include_self=flag(config, "include_self"))
