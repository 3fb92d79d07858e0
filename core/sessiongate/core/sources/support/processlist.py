"""Reads sessions from the process list of a MariaDB or MySQL server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from sessiongate.core.sources.base import Observation, Observed, TcpLink, Unreadable, know_empty
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.moments import LATEST
from sessiongate.core.sources.support.mysql_cells import decoded, integer
from sessiongate.core.sources.support.pacing import Pace, in_order, kept, mapped
from sessiongate.core.sources.support.peer import canonical_address, split_port
from sessiongate.core.sources.support.stability import debounce, reuse_if_same
from sessiongate.core.sources.support.statement import statement
from sessiongate.core.sources.support.thread_activity import (
    NO_TRANSACTIONS,
    UNKNOWN,
    Transaction,
    Transactions,
    thread_activity,
)
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Activity, Session, SessionState

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

_NO_ID = Unreadable("ID: expected a unique number")
_NO_COMMAND = Unreadable("COMMAND: expected a command", ("state", "activity"))
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
    wait: Cell  # the state, if it says that the thread waits for something
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

    def stated(self, item: Observed) -> ThreadRow | None:
        """Return the row of a session as it was last read; None if that gave another object."""
        known = self._known.get(int(item.key))
        if known is None or known.observed is not item:
            return None
        return ThreadRow._make((*known.stated, None))

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

    async def read(
        self,
        threads: Threads,
        moment: float,
        transactions: Transactions | None = NO_TRANSACTIONS,
    ) -> Observation:
        """Read the sessions of a process list that arrived at ``moment``.

        ``moment`` is in seconds since the epoch; ``transactions`` were read just before, None if
        they are not known now. Sessions are ordered by their ids, which the server assigns in
        ascending order.
        """
        seen: dict[int, _Known] = {}
        attributes: dict[int, Mapping[str, str]] = {}
        sessions: list[Observed] = []

        def read(thread: tuple[int, ThreadRow]) -> None:
            ident, row = thread
            known = self._known.get(ident)
            if known is not None and known.stated == row[:-1]:
                known = self._again(known, ident, row, moment, threads, transactions)
            elif _is_client(row):
                known = self._anew(ident, row, moment, transactions)
            else:
                return
            seen[ident] = known
            sessions.append(known.observed)
            if ident in self._attributes:
                attributes[ident] = self._attributes[ident]

        await mapped(read, threads.rows.items())
        self._known, self._attributes = seen, attributes
        self._last = reuse_if_same(self._last, sessions, self._start, threads.unreadable)
        return self._last

    def _anew(
        self, ident: int, row: ThreadRow, moment: float, transactions: Transactions | None
    ) -> _Known:
        """Read the row of a client that is new, or has done something."""
        transaction: Transaction | None = UNKNOWN
        if transactions is not None:
            transaction = _current(transactions.by_thread.get(ident), row, moment, transactions)
        return self._made(ident, row, active_at(row, moment), transaction)

    def _again(
        self,
        known: _Known,
        ident: int,
        row: ThreadRow,
        moment: float,
        threads: Threads,
        transactions: Transactions | None,
    ) -> _Known:
        """Read a row that is the same as before, except for its time; reuse its last result."""
        active = known.active
        # The server numbers the clients' requests; if it does not, only the idle time
        # shows whether there was another.
        is_counted = row.query_id is not None
        if not is_counted or active is _NO_IDLE:
            active = active_at(row, moment, active)
        if transactions is None:
            transaction = self._kept(known.transaction, threads)
        else:
            transaction = transactions.by_thread.get(ident)
            if not is_counted:
                transaction = _current(transaction, row, moment, transactions)
        if active == known.active and transaction == known.transaction:
            return known
        return self._made(ident, row, active, transaction)

    def _kept(self, transaction: Transaction | None, threads: Threads) -> Transaction | None:
        """Return what is still known of a client that has done nothing, while no others are known.

        It holds its locks, and waits for those of others, while none of them does anything.
        """

        def is_same(ident: int) -> bool:
            known, row = self._known.get(ident), threads.rows.get(ident)
            return known is not None and row is not None and known.stated == row[:-1]

        if transaction is None or all(map(is_same, transaction.blockers)):
            return transaction
        return transaction.without_wait()

    def _made(
        self, ident: int, row: ThreadRow, active: _Active, transaction: Transaction | None
    ) -> _Known:
        unreadable = []
        session = Session(native_id=str(ident), service=self._service)
        if row.user == _NOBODY:
            session.state = session_pb2.SESSION_STATE_ALLOC
        elif row.command is not None:
            session.state = _STATES.get(row.command, session_pb2.SESSION_STATE_STARTED)
        else:
            unreadable.append(_NO_COMMAND)
        if activity := _activity(row, active, transaction):
            session.activity.CopyFrom(activity)
        client = set_client(session, row)
        if row.database is not None:
            session.database = decoded(row.database)
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
        link = TcpLink(client=client, server=self._server, server_id=ident)
        accepted = link if client or self._server else None
        blockers = tuple(map(str, transaction.blockers)) if transaction else ()
        observed = Observed(
            str(ident), session, accepted, unreadable=tuple(unreadable), blocked_by=blockers
        )
        return _Known(row[:-1], active, transaction, observed)


def set_client(session: Session, row: ThreadRow) -> tuple[str, int] | None:
    """Set who a session's client is; return its address and port, if both are known."""
    if row.user is not None and row.user != _NOBODY:
        session.user = decoded(row.user)
    host, port = split_port(decoded(row.host or b""))
    remote = canonical_address(host)
    if port is not None:
        session.remote, session.port = remote or host, port
    elif host and host != "localhost":  # the name of a client on a Unix socket
        session.remote = remote or host
    return (remote, port) if remote is not None and port is not None else None


# When a client was last active, in seconds since the epoch. None: unknown.
_Active: TypeAlias = float | Unreadable | None


@dataclass(frozen=True, slots=True)
class _Known:
    """The result of reading a row."""

    stated: tuple[Cell, ...]  # all of the row except its time
    active: _Active
    transaction: Transaction | None
    observed: Observed


def _by_ident(thread: tuple[int, ThreadRow]) -> int:
    return thread[0]


def _is_client(row: ThreadRow) -> bool:
    """Return whether a thread serves a client, and is not one of the server's own."""
    if _SYSTEM_COMMAND.fullmatch(row.command or b""):
        return False
    return row.user != _SYSTEM_USER or split_port(decoded(row.host or b""))[1] is not None


def active_at(row: ThreadRow, moment: float, before: _Active = None) -> _Active:
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


def _current(
    found: Transaction | None, row: ThreadRow, moment: float, transactions: Transactions
) -> Transaction | None:
    """Return a thread's transaction; what may be of an earlier request is not known.

    A server that does not number requests counts whole seconds, or one more: too coarse for more
    than to drop a wait.
    """
    is_counted = row.query_id is not None
    idle = (integer(row.idle) or 0) / 1000 - (not is_counted)
    if moment - idle <= transactions.moment:
        return found
    if is_counted:
        return UNKNOWN
    return found.without_wait() if found else None


def _activity(row: ThreadRow, active: _Active, transaction: Transaction | None) -> Activity | None:
    if row.command is None:
        return None
    # A running event is shown as its definer, who connects, but it has a request.
    is_login = row.command == b"Connect" and row.query_id in (None, b"0")
    return thread_activity(
        decoded(row.command),
        is_connecting=row.user == _NOBODY or is_login,
        wait=None if row.wait is None else decoded(row.wait),
        since=active if isinstance(active, float) else None,
        transaction=transaction,
    )
