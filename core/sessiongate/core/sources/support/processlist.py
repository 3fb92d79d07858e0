"""Reads sessions from the process list of a MariaDB or MySQL server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TypeAlias

from sessiongate.core.sources.base import Observation, Observed, TcpLink, Unreadable, know_empty
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.known_rows import KnownRows
from sessiongate.core.sources.support.moments import LATEST
from sessiongate.core.sources.support.mysql_cells import decoded, integer
from sessiongate.core.sources.support.pacing import Pace, kept, parts
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
from sessiongate.core.sources.support.threads import NOBODY, ThreadRow, Threads
from sessiongate.v1 import session_pb2
from sessiongate.v1.session_pb2 import Activity, Session, SessionState

# By COMMAND; any other value means that the client is logged in, active or idle.
_STATES: Mapping[bytes, SessionState] = {
    b"Connect": session_pb2.SESSION_STATE_ALLOC,
    b"Killed": session_pb2.SESSION_STATE_STOPPING,
    b"Quit": session_pb2.SESSION_STATE_STOPPING,
}

_NO_COMMAND = Unreadable("COMMAND: expected a command", ("state", "activity"))
_NO_IDLE = Unreadable("TIME: expected an integer", ("last_active_time",))


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
        self._rows: KnownRows[Sequence[Cell], Sequence[Cell], _Known | None] = KnownRows(
            itemgetter(0), _without_time, _is_lasting
        )
        # What was made of the rows, and of that: the sessions, and the transactions by id.
        self._known: list[_Known | None] = []
        self._sessions: list[Observed] = []
        self._transactions: dict[int, Transaction] = {}
        self._last: Observation | None = None

    def stated(self, item: Observed) -> ThreadRow | None:
        """Return the row of a session as it was last read; None if that gave another object."""
        ident = item.key.encode()
        known, stated = self._rows.made(ident), self._rows.stated(ident)
        if known is None or known.observed is not item or stated is None:
            return None
        return ThreadRow._make((*stated, None))

    @property
    def run(self) -> tuple[float | None, tuple[str, int] | None]:
        """The server's start and address, for which all of this is valid."""
        return self._start, self._server

    async def unknown_clients(self, threads: Threads) -> list[int]:
        """Return the ids of clients whose connection attributes are unknown."""

        def is_unknown(ident: int) -> bool:
            if ident in self._attributes:
                return False
            row = ThreadRow._make(threads.rows[ident])
            return row.is_client and row.user != NOBODY

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
        pace = Pace()
        self._rows.forget(await self._changed(transactions, pace))

        def make(cells: Sequence[Cell], before: _Known | None) -> _Known | None:
            row = ThreadRow._make(cells)
            ident = integer(row.ident)
            assert ident is not None  # noqa: S101 - `Threads` have no other rows
            if before is not None and self._is_same(row):
                return self._again(before, ident, row, moment, threads, transactions)
            return self._anew(ident, row, moment, transactions) if row.is_client else None

        def still(cells: Sequence[Cell], known: _Known | None) -> bool:
            """Return whether time alone has passed, on which nothing that was made depends."""
            if known is None or known.transaction is not None or known.active is _NO_IDLE:
                return False
            return _active_at(cells[-1], moment, known.active) == known.active

        known = await self._rows.read(threads.rows.values(), make, pace, still)
        if known is not self._known:
            await self._take(known, pace)
        self._last = reuse_if_same(self._last, self._sessions, self._start, threads.unreadable)
        return self._last

    async def _changed(self, transactions: Transactions | None, pace: Pace) -> list[Cell]:
        """Return the ids, as stated, of threads whose transaction may be another one now."""
        before = self._transactions
        if transactions is None:
            changed = await kept(lambda ident: bool(before[ident].blockers), before, pace)
        else:
            now = transactions.by_thread
            changed = await kept(lambda ident: before.get(ident) != now[ident], now, pace)
            changed += await kept(lambda ident: ident not in now, before, pace)
        return [b"%d" % ident for ident in changed]

    async def _take(self, known: list[_Known | None], pace: Pace) -> None:
        """Take over what was made of the rows."""
        attributes: dict[int, Mapping[str, str]] = {}
        sessions: list[Observed] = []
        transactions: dict[int, Transaction] = {}
        async for part in parts(filter(None, known), pace):
            for each in part:
                ident = int(each.observed.key)
                sessions.append(each.observed)
                if ident in self._attributes:
                    attributes[ident] = self._attributes[ident]
                if each.transaction is not None:
                    transactions[ident] = each.transaction
        self._known, self._attributes = known, attributes
        self._sessions, self._transactions = sessions, transactions

    def _is_same(self, row: Sequence[Cell]) -> bool:
        """Return whether a row is the same as before, except for its time."""
        return self._rows.stated(row[0]) == row[:-1]

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
            row = threads.rows.get(ident)
            return row is not None and self._is_same(row) and self._rows.made(row[0]) is not None

        if transaction is None or all(map(is_same, transaction.blockers)):
            return transaction
        return transaction.without_wait()

    def _made(
        self, ident: int, row: ThreadRow, active: _Active, transaction: Transaction | None
    ) -> _Known:
        unreadable = []
        session = Session(native_id=str(ident), service=self._service)
        if row.user == NOBODY:
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
        is_lasting = row.query_id is not None and active is not _NO_IDLE
        return _Known(active, transaction, observed, is_lasting)


def set_client(session: Session, row: ThreadRow) -> tuple[str, int] | None:
    """Set who a session's client is; return its address and port, if both are known."""
    if row.user is not None and row.user != NOBODY:
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

    active: _Active
    transaction: Transaction | None
    observed: Observed
    is_lasting: bool  # the time alone changes nothing


def _is_lasting(known: _Known | None) -> bool:
    return known is None or known.is_lasting


def _without_time(rows: list[Sequence[Cell]]) -> list[Sequence[Cell]]:
    """Return all of the rows except their times."""
    return [row[:-1] for row in rows]


def active_at(row: ThreadRow, moment: float, before: _Active = None) -> _Active:
    """Return when the client was last active; ``before`` if that is close enough.

    Return None if the server does not state it, or its clock was set meanwhile.
    """
    return _active_at(row.idle, moment, before)


def _active_at(stated: Cell, moment: float, before: _Active) -> _Active:
    if stated is None:
        return None
    idle = integer(stated)
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
        is_connecting=row.user == NOBODY or is_login,
        wait=None if row.wait is None else decoded(row.wait),
        since=active if isinstance(active, float) else None,
        transaction=transaction,
    )
