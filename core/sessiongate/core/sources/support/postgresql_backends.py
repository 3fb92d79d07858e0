"""The client backends of a PostgreSQL, read from rows of ``pg_stat_activity``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from sessiongate.core.sources.base import (
    Observation,
    Observed,
    SourceError,
    TcpLink,
    Unreadable,
    UnreadableError,
    know_empty,
)
from sessiongate.core.sources.support.cells import (
    CODECS,
    Cell,
    RowReader,
    decode_text,
    read_address,
    read_bigint,
    read_boolean,
    read_integer,
    read_octets,
    read_port,
    read_timestamp,
)
from sessiongate.core.sources.support.libpq import QueryResult
from sessiongate.core.sources.support.pacing import Pace, mapped, parts
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.core.sources.support.statement import MAX_STATEMENT_BYTES, statement
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import ActivityState, Query, Session, SessionState

# The states of a client backend in pg_stat_activity. A state is NULL if this role
# may not see it; the session's state is then unspecified.
BACKEND_STATES: Mapping[str, SessionState] = {
    "starting": session_pb2.SESSION_STATE_ALLOC,
    "active": session_pb2.SESSION_STATE_STARTED,
    "idle": session_pb2.SESSION_STATE_STARTED,
    "idle in transaction": session_pb2.SESSION_STATE_STARTED,
    "idle in transaction (aborted)": session_pb2.SESSION_STATE_STARTED,
    "fastpath function call": session_pb2.SESSION_STATE_STARTED,
    "disabled": session_pb2.SESSION_STATE_STARTED,  # track_activities is off
}
_RUNNING = ("active", "fastpath function call")

# The activity of a backend in such a state, unless it waits for a lock. In other states the
# server does not say.
BACKEND_ACTIVITIES: Mapping[str, ActivityState] = {
    "starting": session_pb2.ACTIVITY_STATE_CONNECTING,
    "active": session_pb2.ACTIVITY_STATE_ACTIVE,
    "idle": session_pb2.ACTIVITY_STATE_IDLE,
    "idle in transaction": session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION,
    "idle in transaction (aborted)": session_pb2.ACTIVITY_STATE_IDLE_IN_TRANSACTION_ABORTED,
    "fastpath function call": session_pb2.ACTIVITY_STATE_ACTIVE,
}
_LOCK = b"Lock: "  # begins the wait for a lock that transactions hold

# The server truncates statements to a number of bytes, before a character that would be
# split.
_LONGEST_CHARACTER = 4
_MAX_PID = 2**31 - 1


class BackendRow(NamedTuple):
    """A client backend as the query selects it; times are in microseconds since the epoch."""

    pid: Cell
    backend_start: Cell
    usename: Cell
    datname: Cell
    application_name: Cell
    client_addr: Cell
    client_port: Cell  # -1: a Unix socket
    state: Cell
    state_change: Cell
    ssl: Cell
    cipher: Cell
    query: Cell
    query_start: Cell
    xact_start: Cell
    wait: Cell  # TYPE: EVENT; None also if it waits for its client
    wait_start: Cell  # only of a lock
    blockers: Cell  # the pids of those that block it, as {1,2}


class Reached(NamedTuple):
    """The server's properties, as stated over one connection."""

    start: float  # seconds since the epoch
    address: str | None  # the server's end of the connection; None: a Unix socket
    port: int | None
    statement_size: int  # bytes to which it truncates statements, plus one
    codec: str | None = None  # of the queried database; None: unknown

    @classmethod
    def of(cls, answer: QueryResult) -> Reached:
        """Read the result of the set-up query. Raises `SourceError` if it is invalid."""
        try:
            ((start, address, its_port, size, encoding, *_),) = answer.rows
            reached = cls(
                start=float(start or b""),
                address=None if address is None else read_address(address),
                port=None if its_port is None else read_port(its_port),
                statement_size=read_bigint(size or b""),
                codec=CODECS.get(decode_text(encoding or b"")),
            )
        except (ValueError, UnreadableError):
            raise SourceError("the server is not PostgreSQL") from None
        if not math.isfinite(reached.start):
            raise SourceError("the server is not PostgreSQL")
        return reached


class Backends:
    """Turns rows into sessions; an unchanged row gives the same session object."""

    def __init__(self, service: str, reached: Reached) -> None:
        self.reached = reached
        self._service = service
        self._known: dict[tuple[Cell, ...], Observed | Unreadable] = {}
        self._last: Observation | None = None

    async def read(self, rows: Sequence[tuple[Cell, ...]]) -> Observation:
        """Read rows laid out like `BackendRow`; return the last observation if unchanged."""
        seen: dict[tuple[Cell, ...], Observed | Unreadable] = {}
        sessions: list[Observed] = []
        unreadable: list[Unreadable] = []
        blockers = await _blockers(rows)

        def read(row: tuple[Cell, ...]) -> None:
            if row in seen:
                return
            item, blocked_by = self._known.get(row), blockers.get(row[-1], ())
            # A blocker may have gone, and its pid may be another's.
            if item is None or (row[-1] is not None and blocked_by != _blocked_by(item)):
                item = self._read(BackendRow._make(row), blocked_by)
            seen[row] = item
            if isinstance(item, Observed):
                sessions.append(item)
            else:
                unreadable.append(item)

        await mapped(read, rows)
        self._known = seen
        self._last = reuse_if_same(
            self._last, tuple(sessions), self.reached.start, tuple(unreadable)
        )
        return self._last

    def _read(self, row: BackendRow, blocked_by: tuple[str, ...]) -> Observed | Unreadable:
        try:
            return self._observed(row, _key(row), blocked_by)
        except UnreadableError as error:
            return Unreadable(str(error))

    def _observed(self, row: BackendRow, key: str, blocked_by: tuple[str, ...]) -> Observed:
        members = RowReader("pg_stat_activity", row)
        remote = members.read("client_addr", read_address, "remote")
        its_port = None
        if row.client_addr is not None:
            its_port = members.read("client_port", read_port, "port")
        is_encrypted = members.read("ssl", read_boolean, "tls_cipher")
        session = Session(
            service=self._service,
            native_id=str(_pid(row)),
            state=BACKEND_STATES.get(
                self._text(row.state) or "", session_pb2.SESSION_STATE_UNSPECIFIED
            ),
            user=self._text(row.usename),
            database=self._text(row.datname),
            application=self._text(row.application_name) or None,
            remote=remote,
            port=its_port,
            connect_time=members.read("backend_start", read_timestamp, "connect_time"),
            last_active_time=members.read("state_change", read_timestamp, "last_active_time"),
            tls_cipher=None if is_encrypted is None else self._text(row.cipher) or "",
        )
        self._add_activity(row, session, members)
        if query := self._query(row, session, members):
            session.queries.append(query)
        elif row.query == b"" and session.state:  # without the privilege a role sees neither
            know_empty(session, members.unreadable, "queries")
        link = None if remote is None or its_port is None else self._link(row, remote, its_port)
        return Observed(
            key, session, accepted=link, unreadable=members.unreadable, blocked_by=blocked_by
        )

    def _text(self, cell: Cell) -> str | None:
        return None if cell is None else decode_text(cell, self.reached.codec)

    def _add_activity(self, row: BackendRow, session: Session, members: RowReader) -> None:
        native = self._text(row.state) or ""
        state = BACKEND_ACTIVITIES.get(native)
        if state is None:
            return
        since = session.last_active_time if session.HasField("last_active_time") else None
        # A parallel query's leader waits for its workers, which wait for the lock.
        is_blocked = row.blockers is not None or (row.wait or b"").startswith(_LOCK)
        if is_blocked and state == session_pb2.ACTIVITY_STATE_ACTIVE:
            state = session_pb2.ACTIVITY_STATE_WAITING
            since = members.read("wait_start", read_timestamp) or since
        activity = session.activity
        activity.state, activity.native = state, native
        if since is not None:
            activity.since_time.CopyFrom(since)
        if row.wait is not None:
            activity.wait = decode_text(row.wait, self.reached.codec)
        if (start := members.read("xact_start", read_timestamp)) is not None:
            activity.transaction_start_time.CopyFrom(start)

    def _query(self, row: BackendRow, session: Session, members: RowReader) -> Query | None:
        whole = members.read("query", read_octets, "queries")
        state = self._text(row.state)
        if not whole or state not in BACKEND_STATES or state == "disabled":
            return None
        is_cut = len(whole) > MAX_STATEMENT_BYTES or (
            len(whole) + _LONGEST_CHARACTER >= self.reached.statement_size
        )
        query = statement(decode_text(whole, self.reached.codec, is_cut=is_cut))
        query.truncated |= is_cut
        # Without its start, this is still the current statement.
        if start := members.read("query_start", read_timestamp):
            query.receive_time.CopyFrom(start)
        if state not in _RUNNING and session.HasField("last_active_time"):
            query.complete_time.CopyFrom(session.last_active_time)
        return query

    def _link(self, row: BackendRow, remote: str, its_port: int) -> TcpLink:
        """Return the client's connection.

        The server does not state which of its addresses the client used. Assume the
        one at which this source reached it, unless that is impossible.
        """
        here = self.reached
        server = None
        if here.address and here.port and _kind(here.address) == _kind(remote):
            server = (here.address, here.port)
        return TcpLink(client=(remote, its_port), server=server, server_id=_pid(row))


async def _blockers(rows: Sequence[tuple[Cell, ...]]) -> Mapping[Cell, tuple[str, ...]]:
    """Return the sessions that each cell of ``blockers`` names, by their keys.

    What is not a session here is left out: a prepared transaction, a process of the server.
    """
    cells: set[bytes] = set()
    async for part in parts(rows, Pace()):
        cells.update(row[-1] for row in part if row[-1] is not None)
    if not cells:
        return {}
    keys: dict[bytes, str] = {}

    def know(row: tuple[Cell, ...]) -> None:
        with suppress(UnreadableError):
            keys[row[0] or b""] = _key(BackendRow._make(row))

    await mapped(know, rows)

    def named(cell: bytes) -> tuple[str, ...]:
        pids = cell.strip(b"{}").split(b",")
        return tuple(dict.fromkeys(keys[pid] for pid in pids if pid in keys))

    return dict(zip(cells, await mapped(named, cells), strict=True))


def _blocked_by(item: Observed | Unreadable) -> tuple[str, ...]:
    return item.blocked_by if isinstance(item, Observed) else ()


def _key(row: BackendRow) -> str:
    """Return a session's key. Raises `UnreadableError`."""
    pid = _pid(row)
    if row.backend_start is None:
        return str(pid)
    try:
        return f"{pid} {read_bigint(row.backend_start)}"
    except UnreadableError as error:
        raise UnreadableError(f"pg_stat_activity backend_start: {error}") from None


def _pid(row: BackendRow) -> int:
    """Return the backend's process id. Raises `UnreadableError`."""
    try:
        return read_integer(row.pid or b"", 1, _MAX_PID)
    except UnreadableError as error:
        raise UnreadableError(f"pg_stat_activity pid: {error}") from None


def _kind(address: str) -> tuple[bool, bool]:
    """Return whether an address is IPv6, and loopback; a connection's ends agree in both."""
    return ":" in address, address.startswith("127.") or address == "::1"
