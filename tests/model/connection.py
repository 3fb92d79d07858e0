"""A core's connection to the simulated server, over a link that may be cut, silent or slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import psycopg
from greenlet import getcurrent, greenlet
from psycopg import pq

from sessiongate.core.ledger.postgresql.connection import (
    CONNECT_TIMEOUT,
    Backend,
    LedgerAwayError,
    LedgerConnection,
    ServerIdentity,
)
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.script import Copy
from tests.model.meanings import normal, parameterized
from tests.model.server import Lost, Server, Session
from tests.model.virtual import Machine, here, resume, wait

if TYPE_CHECKING:
    from tests.model.program import Life

_UNHEARD = 25.0  # seconds after which a server ends a connection that it cannot reach
_BROKEN = "server closed the connection unexpectedly"


class Link:
    """The way between one program and the server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.delay = 0.0005
        self.is_cut = self.is_silent = False
        self.connections: dict[ModelConnection, None] = {}  # in the order in which they were made
        self._held: list[Callable[[], None]] = []

    def send(self, machine: Machine, deliver: Callable[..., None], *what: Any) -> None:
        """Deliver something on a machine, a little later."""
        machine.call_later(self.delay, self._arrive, machine, deliver, what)

    def _arrive(self, machine: Machine, deliver: Callable[..., None], what: Any) -> None:
        if self.is_silent:
            self._held.append(lambda: self.send(machine, deliver, *what))
        else:
            deliver(*what)

    def cut(self) -> None:
        """Break all connections, and let no other be made."""
        self.is_cut = True
        for each in [*self.connections]:
            each.break_off()

    def heal(self) -> None:
        """Let everything pass; what was sent meanwhile arrives."""
        self.is_cut = self.is_silent = False
        self.delay = 0.0005
        held, self._held = self._held, []
        for each in held:
            each()


class _Cursor:
    """The result of a statement."""

    def __init__(self, answer: Any) -> None:
        is_rows = isinstance(answer, list)
        self._rows: list[Any] = answer if is_rows else []
        self.rowcount = len(answer) if is_rows else (answer or 0)

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class _Result:
    """The result of a statement of a script."""

    def __init__(self, answer: Any) -> None:
        self._rows: list[Any] = answer if isinstance(answer, list) else []
        self.command_tuples = len(self._rows) or answer or 0
        self.ntuples = len(self._rows)
        self.nfields = len(self._rows[0]) if self._rows else 0

    def get_value(self, row: int, column: int) -> bytes:
        return str(self._rows[row][column]).encode()


class _Raw:
    """As much of psycopg's connection as a ledger uses."""

    def __init__(self, connection: ModelConnection) -> None:
        self._connection = connection
        self.closed = self.broken = False

    @property
    def info(self) -> _Raw:
        return self

    @property
    def transaction_status(self) -> pq.TransactionStatus:
        session = self._connection._session
        is_idle = session is None or session.transaction is None
        return pq.TransactionStatus.IDLE if is_idle else pq.TransactionStatus.INTRANS

    def cursor(self) -> _Raw:
        return self

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            self._connection.ask(statement, tuple(row))

    def close(self) -> None:
        self.closed = True


class ModelConnection(LedgerConnection):
    """A connection, made and used by blocking code of a program."""

    def __init__(self, place: LedgerPlace, name: str) -> None:
        self._place, self._numbers = place, count()
        self._asked_at: float | None = None
        self.warned = False
        self._machine = cast("Life", here())
        self.program = self._machine.program
        self._link = self.program.link
        self._session: Session | None = None
        self._waiting: greenlet | None = None  # for an answer
        self._heard: list[Any] | None = None  # while it is asked at once
        self._fake = _Raw(self)
        self.raw = cast("Any", self._fake)
        self._cursors: dict[str, list[Any]] = {}
        with self.naming_errors():
            self._connect(name)

    def _connect(self, name: str) -> None:
        link, server = self._link, self._link.server
        link.connections[self] = None

        def arrive() -> None:
            if link.is_cut or not server.is_up:
                self.hear(Lost())
                return
            session = self._session = server.connect(name, self._machine, self.hear)
            told = (session.begun, server.system, server.timeline, server.started)
            self.hear((told, False))

        limit = self._machine.call_later(CONNECT_TIMEOUT, self.cut)
        if not server.is_up:
            self._machine.call_soon(self.hear_here, Lost())
        else:
            link.send(server.machine, arrive)
        try:
            begun, *server_is = self._taken(self._wait())
        except psycopg.OperationalError as error:
            self.close()
            raise LedgerAwayError(
                f"the ledger ({self._place}) cannot be reached: {error}"
            ) from None
        finally:
            limit.cancel()
        assert self._session is not None
        self.backend = Backend(self._session.pid, begun)
        self.server = ServerIdentity(*server_is)

    def _wait(self) -> Any:
        self._waiting = getcurrent()
        return wait()

    def _taken(self, heard: Any) -> Any:
        """Return what the server has answered; raise what it has failed with."""
        if isinstance(heard, Lost):
            raise psycopg.OperationalError(_BROKEN)
        found, warned = heard
        self.warned = self.warned or warned
        if isinstance(found, BaseException):
            raise found
        return found

    def _send(self, text: str, values: tuple[Any, ...]) -> Any:
        """Ask the server; return what is heard of it."""
        link, machine, session = self._link, self._machine, self._session
        server, virtual = link.server, machine.virtual
        assert session is not None
        is_slow = link.is_silent or server.machine.is_paused
        if is_slow or not machine.may_skip_to(virtual.now + 2 * link.delay):
            link.send(server.machine, server.ask, session, text, values)
            return self._wait()
        # The same without a detour: nothing else happens anywhere until the answer is there.
        virtual.now += link.delay
        if (rows := server.read(session, text, values)) is not None:
            virtual.now += link.delay
            return rows, False
        heard = self._heard = []
        server.ask(session, text, values)
        self._heard = None
        if len(heard) == 1 and machine.may_skip_to(virtual.now + link.delay):
            virtual.now += link.delay
            self.hear_here(heard[0])
            return heard[0]
        for each in heard:
            self.hear(each)
        return self._wait()

    def hear(self, answer: object) -> None:
        """Take an answer of the server's, as it sends it."""
        if self._heard is not None:
            self._heard.append(answer)
        else:
            self._link.send(self._machine, self.hear_here, answer)

    def hear_here(self, answer: object) -> None:
        """Take an answer that has arrived."""
        if isinstance(answer, Lost):
            self._fake.broken = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            resume(waiting, answer)

    def ask(self, text: str, values: tuple[Any, ...]) -> Any:
        """Run a statement at the server; return what it gives."""
        self.program.asks(text)
        if self.is_lost or self._machine.is_dead:
            raise psycopg.OperationalError("the connection is lost")
        self._asked_at = self._machine.time()
        try:
            return self._taken(self._send(text, values))
        finally:
            self._asked_at = None

    def execute(self, statement: str, *values: object) -> Any:
        """Run a statement; its result has been received."""
        statement = normal(statement)
        if statement.startswith("DECLARE"):
            name, question = statement.removeprefix("DECLARE ").split(" ", 1)
            question = question.removeprefix("NO SCROLL CURSOR FOR ")
            self._cursors[name] = self.ask(question, values)
            return _Cursor(None)
        if statement.startswith("FETCH"):
            _, size, _, name = statement.split()
            rows = self._cursors[name]
            part, self._cursors[name] = rows[: int(size)], rows[int(size) :]
            return _Cursor(part)
        return _Cursor(self.ask(statement, values))

    def script(self, *statements: str | Copy) -> Any:
        """Run statements one after the other; return their results."""
        return [self._run(each) for each in statements]

    def _run(self, statement: str | Copy) -> _Result:
        if isinstance(statement, Copy):
            return _Result(self.ask(normal(statement.statement), (b"".join(statement.parts),)))
        return _Result(self.ask(*parameterized(statement)))

    @contextmanager
    def waiting(self) -> Iterator[Any]:
        """Note that the server is asked."""
        yield self._fake

    def cut(self) -> None:
        """Make what waits for the server fail at once."""
        self._fake.broken = True
        self._machine.call_soon(self.hear_here, Lost())
        self._leave()

    def close(self) -> None:
        """Close the connection."""
        if not self._machine.is_dead:
            self._fake.closed = True
            self._leave()

    def break_off(self) -> None:
        """Break, as both ends see."""
        self._machine.call_soon(self.hear_here, Lost())
        self.end_at_server()

    def end_at_server(self) -> None:
        """Let the server find that the client is gone."""
        session, server = self._session, self._link.server
        if session is not None:
            server.machine.call_soon(server.terminate, session)
        self._link.connections.pop(self, None)

    def _leave(self) -> None:
        session, server, link = self._session, self._link.server, self._link
        link.connections.pop(self, None)
        if session is None:
            return
        if link.is_silent:  # until it hears of it, or has asked in vain
            server.machine.call_later(_UNHEARD, server.terminate, session)
        link.send(server.machine, server.terminate, session)
