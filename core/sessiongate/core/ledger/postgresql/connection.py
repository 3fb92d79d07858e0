"""Opens connections to the ledger's server, and makes them what a ledger needs.

One that is used in vain can be cut by another thread: a server that hangs never lets go.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.script import Copy, Script
from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.causes import meaning
from sessiongate.runtime.elapsed import elapsed

log = logging.getLogger(__name__)

SCHEMA = "sessiongate"
OLDEST = 140_000  # PostgreSQL 14: it detaches partitions without making writes wait
CONNECT_TIMEOUT = 5  # seconds for each address of the server, and then for its first answers
ANSWER_TIMEOUT = 30.0  # seconds after which a statement that has no answer is given up
_RELEASE = 0.2  # seconds for the server to end a connection that was closed
_SHOWN = 500  # characters of a server's text
_LINE = re.compile(r"[\r\n]")
# Errors that pass: a server has no room now, begins or ends, or the network fails.
_PASSING = re.compile(
    "too many|connection slots|connection limit|read-only|the database system is"
    "|terminating connection|closed the connection|Connection reset|could not receive|timeout"
    "|timed out|resolve host|name resolution|Name or service not known"
)
_PING = "2"  # seconds, the least that libpq knows: nothing else of this process runs meanwhile
# What decides about safety is set here, whatever the server's, the role's and the database's is.
_SETTINGS = (
    ("search_path", f"{SCHEMA}, pg_temp"),  # nobody else's tables are taken for the ledger's
    ("default_transaction_isolation", "'read committed'"),
    ("default_transaction_read_only", "off"),
    ("statement_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "'60s'"),
    ("lock_timeout", "'10s'"),
    ("client_connection_check_interval", "'1s'"),  # so that what nobody waits for ends
    # The server, too, notices soon that this machine is gone.
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("jit", "off"),  # it costs more than these questions
)
_ABOUT = """
SELECT current_setting('fsync'), current_setting('server_encoding'),
    current_setting('synchronous_commit'),
    pg_backend_pid(),
    (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()),
    (SELECT system_identifier FROM pg_control_system()),
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,
    pg_postmaster_start_time()
"""


class LedgerAwayError(LedgerError):
    """The server cannot be reached, or has no room: it may be there again later."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """A running server: a restart, a promotion or a restore makes it another one."""

    system: int  # of all copies of one database
    timeline: int
    started: datetime


class Backend(NamedTuple):
    """A process of the server's: another one may get its id, but not its start as well."""

    pid: int
    begun: datetime


class LedgerConnection:
    """A connection, used by one thread at a time."""

    def __init__(self, place: LedgerPlace, name: str) -> None:
        """Connect; the server shows ``name`` as the application. Raises `LedgerError`."""
        self._place = place
        self._numbers = count()  # of streams
        self._asked_at: float | None = None
        self.warned = False  # the server has warned since this was last set to false
        with self.naming_errors():
            parameters = self._parameters(name)
            try:
                self.raw = psycopg.connect(parameters, autocommit=True)
            except psycopg.OperationalError as error:
                raise self._not_connected(error, parameters) from None
            self._socket = socket.socket(fileno=os.dup(self.raw.fileno()))
            limit = threading.Timer(CONNECT_TIMEOUT, self.cut)  # nobody else knows of it yet
            limit.daemon = True
            limit.start()
            try:
                self.raw.add_notice_handler(self._note)
                self.server = self._prepare()
            except BaseException:
                self.close()
                raise
            finally:
                limit.cancel()

    def _parameters(self, name: str) -> str:
        try:
            return self._place.parameters(
                application_name=name,
                client_encoding="UTF8",
                connect_timeout=str(CONNECT_TIMEOUT),
                target_session_attrs="read-write",
                keepalives_idle="10",
                keepalives_interval="5",
                keepalives_count="3",
                tcp_user_timeout=str(round(ANSWER_TIMEOUT * 1000)),
            )
        except SourceError as error:
            raise LedgerError(f"the ledger ({self._place}): {error}") from None

    def _not_connected(self, error: psycopg.Error, parameters: str) -> LedgerError:
        """Return the error of a server that is away, or that refuses this ledger."""
        told = str(error).strip()
        text = self._place.endpoint.censored(meaning(told))
        text = f"the ledger ({self._place}) cannot be reached: {text}"
        if _PASSING.search(told) or _PASSING.search(text):
            return LedgerAwayError(text)
        # Without TLS: whether a server is there has nothing to do with its certificate.
        asked = make_conninfo(parameters, sslmode="disable", connect_timeout=_PING)
        refuses = pq.PGconn.ping(asked.encode()) == pq.Ping.OK
        return LedgerError(text) if refuses else LedgerAwayError(text)

    def _prepare(self) -> ServerIdentity:
        """Check the server and set what a ledger needs."""
        if self.raw.info.server_version < OLDEST:  # which does not know all of the settings
            raise self.error(f"needs PostgreSQL {OLDEST // 10_000} or later")
        self.raw.execute("; ".join(f"SET {name} = {value}" for name, value in _SETTINGS).encode())
        row = self.raw.execute(_ABOUT).fetchone()
        assert row is not None  # noqa: S101 - it is a question without FROM
        fsync, encoding, commit, pid, begun, system, timeline, started = row
        if fsync != "on":
            raise self.error("must not be on a server with fsync=off: it would lose ids")
        if encoding != "UTF8":
            raise self.error(f"needs a database with the encoding UTF8, not {encoding}")
        if pid != self.raw.info.backend_pid:
            raise self.error(
                "must not be reached through a pooler, which may change connections;"
                " name the server itself"
            )
        if commit in ("off", "local"):
            self.raw.execute("SET synchronous_commit = on")
        self.backend = Backend(pid, begun)
        return ServerIdentity(system, timeline, started)

    @property
    def waits_for(self) -> float:
        """Seconds for which a statement has had no answer; any thread may ask."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else elapsed() - asked_at

    @contextmanager
    def waiting(self) -> Iterator[psycopg.Connection]:
        """Note that the server is asked, for `waits_for`."""
        self._ask()
        try:
            yield self.raw
        finally:
            self._asked_at = None

    def execute(self, statement: str, *values: object) -> psycopg.Cursor:
        """Run a statement; its result has been received. Raises psycopg's errors.

        It is planned each time: the server would keep a plan that was made while a table was
        small, by which each row is compared with each value of an array in turn.
        """
        with self.waiting() as raw:
            return raw.execute(statement.encode(), values or None, prepare=False)

    @contextmanager
    def transaction(self, mode: str = "", *first: str) -> Iterator[list[pq.abc.PGresult]]:
        """Run a transaction, which is committed at the end; yield the results of its ``first``.

        Raises psycopg's errors.
        """
        try:
            yield self.script(f"BEGIN {mode}", *first)[1:]
        except BaseException:
            with suppress(psycopg.Error):
                if self.raw.info.transaction_status != pq.TransactionStatus.IDLE:
                    self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def prepared(self, statement: str, *values: object) -> list[Any]:
        """Return the rows that a statement selects, which the server prepares at first use."""
        with self.waiting() as raw:
            return raw.execute(statement.encode(), values, prepare=True).fetchall()

    def row(self, statement: str, *values: object) -> tuple[Any, ...]:
        """Return the row that a statement finds, which was there, or has just been made.

        Raises `LedgerAwayError` if the tables were dropped, and made again, since then.
        """
        found = self.execute(statement, *values).fetchone()
        if found is None:
            raise LedgerAwayError(str(self.error("has other tables than just now")))
        return found

    def script(self, *statements: str | Copy) -> list[pq.abc.PGresult]:
        """Run statements one after the other (`Script`); return their results.

        Raises psycopg's errors.
        """
        with self.waiting() as raw:
            return Script(statements, self._ask).run(raw) if statements else []

    def _ask(self) -> None:
        self._asked_at = elapsed()

    def stream(self, question: str, *values: object, size: int) -> Iterator[list[Any]]:
        """Yield ``size`` rows of an answer at a time, in a transaction that has begun."""
        name = f"cursor{next(self._numbers)}"
        self.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {question}", *values)
        while part := self.execute(f"FETCH {size} FROM {name}").fetchall():
            yield part
            if len(part) < size:
                return

    @contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Convert psycopg's errors to `LedgerError`, with the ledger's name."""
        try:
            yield
        except psycopg.Error as error:
            # The detail may quote what a session is described by.
            text = error.diag.message_primary or str(error)
            failed = self.error(f"failed: {_LINE.split(text.strip())[0][:_SHOWN]}")
            if isinstance(error, psycopg.OperationalError) and self.is_lost:
                failed = LedgerAwayError(str(failed))
            raise failed from error

    def error(self, text: str) -> LedgerError:
        """Return an error that names the ledger."""
        return LedgerError(f"the ledger ({self._place}) {text}")

    @property
    def is_lost(self) -> bool:
        """Whether the connection cannot be used any longer."""
        return self.raw.closed or self.raw.broken

    def cut(self) -> None:
        """Make what waits for the server fail at once; any thread may call this."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; never fail.

        What it has locked is free afterwards, unless the server does not answer: it ends a
        connection only after it has given back all that it held.
        """
        with suppress(psycopg.Error):
            self.raw.close()
        with self._socket, suppress(OSError):
            self._socket.settimeout(_RELEASE)
            end = elapsed() + _RELEASE  # also if it goes on sending an answer
            while self._socket.recv(65536) and elapsed() < end:
                pass

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self.warned = True
            log.warning("the ledger (%s): %s", self._place, diagnostic.message_primary)
