"""``postgresql://USER@HOST:5432/DATABASE``: the client backends of a PostgreSQL server, 10 to 18.

They are read from ``pg_stat_activity`` over one connection that stays open. A
role that is not a member of ``pg_monitor`` (or ``pg_read_all_stats``) sees of
other roles' sessions no more than that they are there; they are reported so.
Options: ``statements=true`` reads what the clients run, ``include_self=true``
shows that connection too; and those of every source in a network
(`core.sources.network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from core.sources.base import Observation, Observed, SourceConfig, Wire
from core.sources.libpq import Client
from core.sources.network import CREDENTIAL_OPTIONS, TLS_OPTIONS, Endpoint, flag
from core.sources.statement import statement
from core.sources.steady import again
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Query, Session, SessionState

DEFAULT_PORT = 5432
DEFAULT_DATABASE = "postgres"

# What pg_stat_activity calls a client backend's state. It is NULL where this
# role may not know it, and unspecified then.
STATES: Mapping[str, SessionState] = {
    "starting": session_pb2.SESSION_STATE_ALLOC,
    "active": session_pb2.SESSION_STATE_STARTED,
    "idle": session_pb2.SESSION_STATE_STARTED,
    "idle in transaction": session_pb2.SESSION_STATE_STARTED,
    "idle in transaction (aborted)": session_pb2.SESSION_STATE_STARTED,
    "fastpath function call": session_pb2.SESSION_STATE_STARTED,
    "disabled": session_pb2.SESSION_STATE_STARTED,  # track_activities is off
}
_RUNNING = ("active", "fastpath function call")

# What holds for as long as a connection does. Read only, and never for long: the
# server ends what this end no longer waits for. It takes the backends for a
# handful, and would look through all its databases for each.
_SETUP = """
SET default_transaction_read_only = on;
SET statement_timeout = {timeout};
SET enable_nestloop = off;
SELECT extract(epoch FROM pg_postmaster_start_time())::float8, host(inet_server_addr()),
 inet_server_port(), pg_size_bytes(current_setting('track_activity_query_size'))
"""

# Times in microseconds since the epoch, which is what the server keeps. To a role
# that may not know a backend's kind, NULL, the server's own show by having neither
# user nor database.
_SELECT = """
SELECT a.pid, (extract(epoch FROM a.backend_start) * 1000000)::bigint, a.usename, a.datname,
 a.application_name, host(a.client_addr), a.client_port, a.state,
 (extract(epoch FROM a.state_change) * 1000000)::bigint, s.ssl, s.cipher, {statement}
FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
WHERE (a.backend_type = 'client backend'
 OR a.backend_type IS NULL AND a.usesysid IS NOT NULL AND a.datid IS NOT NULL){others}
ORDER BY a.backend_start, a.pid
"""
_STATEMENT = (
    "substring(textsend(a.query) FROM 1 FOR 16385),"
    " (extract(epoch FROM a.query_start) * 1000000)::bigint"
)
_NO_STATEMENT = "NULL::bytea, NULL::bigint"
_OTHERS = " AND a.pid <> pg_backend_pid()"

# The server cuts statements at a length of bytes, and before a character that the cut
# would fall in.
_LONGEST_CHARACTER = 4


class Row(NamedTuple):
    """A client backend, as the query selects it; times in microseconds since the epoch."""

    pid: int
    backend_start: int | None
    usename: str | None
    datname: str | None
    application_name: str | None
    client_addr: str | None
    client_port: int | None  # -1: a Unix socket
    state: str | None
    state_change: int | None
    ssl: bool | None
    cipher: str | None
    query: bytes | None
    query_start: int | None


class Reached(NamedTuple):
    """What the server says of itself over one connection."""

    start: float  # seconds since the epoch
    address: str | None  # the server's end of the connection; None: a Unix socket
    port: int | None
    statement_size: int  # bytes after which it cuts statements, and one more


class Backends:
    """Turns rows into sessions. Of a row that is as it was, the session is the same object."""

    def __init__(self, service: str, reached: Reached) -> None:
        self.reached = reached
        self._service = service
        self._known: dict[tuple[Any, ...], Observed] = {}
        self._last: Observation | None = None

    def read(self, rows: list[tuple[Any, ...]]) -> Observation:
        """The sessions that rows, each as `Row` has it, tell of; the last object if unchanged."""
        known = self._known
        self._known = {row: known.get(row) or self._observed(Row._make(row)) for row in rows}
        self._last = again(self._last, tuple(self._known.values()), self.reached.start)
        return self._last

    def _observed(self, row: Row) -> Observed:
        start = row.backend_start
        session = Session(
            service=self._service,
            native_id=str(row.pid),
            state=STATES.get(row.state or "", session_pb2.SESSION_STATE_UNSPECIFIED),
            user=row.usename,
            database=row.datname,
            application=row.application_name or None,
            remote=row.client_addr,
            port=row.client_port if row.client_addr else None,
            connect_time=_time(start),
            last_active_time=_time(row.state_change),
            tls_cipher=None if row.ssl is None else row.cipher or "",
        )
        if row.query and row.state in STATES and row.state != "disabled":
            session.queries.append(self._query(row, row.query))
        key = str(row.pid) if start is None else f"{row.pid} {start}"
        return Observed(key, session, accepted=self._wire(row))

    def _query(self, row: Row, text: bytes) -> Query:
        query = statement(text.decode(errors="replace"))
        query.truncated |= len(text) + _LONGEST_CHARACTER >= self.reached.statement_size
        if row.query_start is not None:
            query.receive_time.FromMicroseconds(row.query_start)
        if row.state not in _RUNNING and row.state_change is not None:
            query.complete_time.FromMicroseconds(row.state_change)
        return query

    def _wire(self, row: Row) -> Wire | None:
        """The connection by which the client came; None for a Unix socket or where not known.

        The server does not say at which of its addresses. It is the one that
        this source reached it at, unless that one cannot have been.
        """
        client, port = row.client_addr, row.client_port
        if client is None or port is None:
            return None
        here = self.reached
        server = None
        if here.address and here.port and _kind(here.address) == _kind(client):
            server = (here.address, here.port)
        return Wire(client=(client, port), server=server, server_id=row.pid)


class PostgreSQLSource:
    """A server's client backends."""

    def __init__(
        self,
        endpoint: Endpoint,
        service: str,
        *,
        patience: float,
        statements: bool = False,
        include_self: bool = False,
    ) -> None:
        """``service`` is what the sessions are on; ``patience``, in seconds, the server's too."""
        timeout = max(1, round(patience * 1000))
        database = endpoint.path or DEFAULT_DATABASE
        self._client = Client(endpoint, database, _SETUP.format(timeout=timeout))
        self._service = service
        self._select = _SELECT.format(
            statement=_STATEMENT if statements else _NO_STATEMENT,
            others="" if include_self else _OTHERS,
        )
        self._backends: Backends | None = None

    async def observe(self) -> Observation:
        """The client backends as they are. Raises `SourceError`, which names the server."""
        (answer,) = await self._client.ask(self._select)
        reached = Reached(*self._client.setup_answer.rows[0])
        if self._backends is None or self._backends.reached != reached:
            self._backends = Backends(self._service, reached)
        return self._backends.read(list(answer.rows))

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()


def _time(microseconds: int | None) -> Timestamp | None:
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def _kind(address: str) -> tuple[bool, bool]:
    """IPv6 or not, this machine's own or not: connections do not go between these."""
    return ":" in address, address.startswith("127.") or address == "::1"


def open_source(config: SourceConfig) -> PostgreSQLSource:
    """The server that a configuration names. Raises `SourceConfigError`."""
    config.take("statements", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS)
    return PostgreSQLSource(
        Endpoint.of(config, port=DEFAULT_PORT),
        config.name,
        patience=config.timeout,
        statements=flag(config, "statements"),
        include_self=flag(config, "include_self"),
    )
