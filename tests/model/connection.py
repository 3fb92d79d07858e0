"""A core's connection to the simulated server, over a link that may be cut, silent or slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import psycopg

from sessiongate.core.ledger.postgresql.connection import (
    CONNECT_TIMEOUT,
    Backend,
    LedgerAwayError,
    LedgerConnection,
    ServerIdentity,
)
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from tests.model.server import Lost, Server, Session
from tests.model.virtual import here, wait

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
        self.connections: set[ModelConnection] = set()
        self._held: list[Callable[[], None]] = []

    def send(self, machine: asyncio.AbstractEventLoop, deliver: Callable[[], None]) -> None:
        """Deliver something on a machine, a little later."""

        def arrive() -> None:
            if self.is_silent:
                self._held.append(lambda: self.send(machine, deliver))
            else:
                deliver()

        machine.call_later(self.delay, arrive)

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


class _Raw:
    """As much of psycopg's connection as a ledger uses."""

    def __init__(self, connection: ModelConnection) -> None:
        self._connection = connection
        self.closed = self.broken = False

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
        self._answer: asyncio.Future[Any] | None = None
        self._fake = _Raw(self)
        self.raw = cast("Any", self._fake)
        self._cursors: dict[str, list[Any]] = {}
        with self.naming_errors():
            self._connect(name)

    def _connect(self, name: str) -> None:
        link, server = self._link, self._link.server
        link.connections.add(self)

        def arrive() -> None:
            if link.is_cut or not server.is_up:
                self.hear(Lost())
                return
            session = self._session = server.connect(name, self._machine, self.hear)
            told = (session.begun, server.system, server.timeline, server.started)
            self.hear((told, False))

        try:
            begun, *server_is = self._wait(arrive, CONNECT_TIMEOUT)
        except psycopg.OperationalError as error:
            self.close()
            raise LedgerAwayError(
                f"the ledger ({self._place}) cannot be reached: {error}"
            ) from None
        assert self._session is not None
        self.backend = Backend(self._session.pid, begun)
        self.server = ServerIdentity(*server_is)

    def _wait(self, arrive: Callable[[], None], timeout: float | None = None) -> Any:
        """Let something arrive at the server; return the answer."""
        if self.is_lost or self._machine.is_dead:
            raise psycopg.OperationalError("the connection is lost")
        link = self._link
        answer = self._answer = self._machine.create_future()
        limit = None if timeout is None else self._machine.call_later(timeout, self.cut)
        if not link.server.is_up and self._session is None:
            self._machine.call_soon(self.hear_here, Lost())
        else:
            link.send(link.server.machine, arrive)
        try:
            found, warned = wait(answer)
        finally:
            if limit is not None:
                limit.cancel()
            self._answer = None
        self.warned = self.warned or warned
        if isinstance(found, BaseException):
            raise found
        return found

    def hear(self, answer: object) -> None:
        """Take an answer of the server's, as it sends it."""
        self._link.send(self._machine, lambda: self.hear_here(answer))

    def hear_here(self, answer: object) -> None:
        """Take an answer that has arrived."""
        if isinstance(answer, Lost):
            self._fake.broken = True
            answer = psycopg.OperationalError(_BROKEN), False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def ask(self, text: str, values: tuple[Any, ...]) -> Any:
        """Run a statement at the server; return what it gives."""
        self.program.asks(text)
        session = self._session

        def arrive() -> None:
            if session is not None:
                session.asked.put_nowait((text, values))

        self._asked_at = self._machine.time()
        try:
            found = self._wait(arrive)
        finally:
            self._asked_at = None
        return found

    def execute(self, statement: str, *values: object) -> Any:
        """Run a statement; its result has been received."""
        statement = " ".join(statement.split())
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

    @contextmanager
    def running(self, statement: str, *values: object) -> Iterator[Any]:
        """Do something once the server has run a statement."""
        yield self.execute(statement, *values)

    def copy(
        self,
        statement: str,
        parts: Iterable[bytes],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Send rows to a COPY."""
        lines = b"".join(parts)
        meanwhile()
        self.ask(" ".join(statement.split()), (lines,))

    @contextmanager
    def waiting(self) -> Iterator[Any]:
        """Note that the server is asked."""
        yield self._fake

    def cut(self) -> None:
        """Make what waits for the server fail at once."""
        self.hear_here(Lost())
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
        self._link.connections.discard(self)

    def _leave(self) -> None:
        session, server, link = self._session, self._link.server, self._link
        link.connections.discard(self)
        if session is None:
            return
        if link.is_silent:  # until it hears of it, or has asked in vain
            server.machine.call_later(_UNHEARD, server.terminate, session)
        link.send(server.machine, lambda: server.terminate(session))
