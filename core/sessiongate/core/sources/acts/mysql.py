"""Ends connections of MariaDB and MySQL, and cancels their statements.

A connection is named by its id, which a server gives once between its start and its end, over a
connection to the server that started when it was observed. MariaDB numbers statements, too; of
MySQL's, only the age distinguishes two, in whole seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from asyncmy import errors

from sessiongate.core.sources.acting import ActError, ActFault, Action, Strike, Target
from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.mysql_cells import decoded
from sessiongate.core.sources.support.mysql_dialect import Dialect
from sessiongate.core.sources.support.mysql_driver import (
    Driver,
    check_privilege,
    driver_cause,
    fetch,
    is_servers,
    log_in,
    start_of,
)
from sessiongate.core.sources.support.own_connections import OwnConnection, OwnConnections
from sessiongate.core.sources.support.processlist import active_at, set_client
from sessiongate.core.sources.support.received import limit_received
from sessiongate.core.sources.support.stability import TOLERANCE
from sessiongate.core.sources.support.threads import ThreadRow
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.times import seconds_of

_NO_THREAD, _NO_STATEMENT = 1094, 1957
_IDLE = (b"Sleep", b"Killed", b"Quit", b"Connect", None)
_GONE = "the session has ended"
_OTHER_STATEMENT = "the session runs another statement now"


@asynccontextmanager
async def aim(
    endpoint: Endpoint,
    own: OwnConnections,
    seen: ThreadRow | None,
    now: Callable[[], float],
    action: Action,
    target: Target,
) -> AsyncIterator[Strike]:
    """Aim at a connection: see `ActingSource`. ``seen`` is its row, None if it has changed.

    The connection is one of the source's ``own``; ``now`` is in seconds since the epoch.
    """
    if target.incarnation is None:
        text = "the server does not report when it started, so ids of sessions may be repeated"
        raise ActError(ActFault.UNSUPPORTED, text)
    driver: Driver | None = None
    with own.opening() as connection:
        try:
            with _naming(endpoint):
                driver = await log_in(object(), endpoint)
                _, transport = await driver.connect()
                connection.know((_ident(driver), target.incarnation))
                async with limit_received(partial(_descriptor, transport)):
                    dialect = await _introduced(driver, connection, endpoint, target)
                    command = await _command(driver, dialect, seen, now, action, target)
            yield partial(_strike, driver, endpoint, command)
        finally:
            if driver is not None:
                driver.close()


async def _introduced(
    driver: Driver, connection: OwnConnection, endpoint: Endpoint, target: Target
) -> Dialect:
    """Return the server's dialect, if the server is still the target's. Raises `ActError`."""
    ((version, performance_schema),) = await fetch(driver, "SELECT VERSION(), @@performance_schema")
    dialect = Dialect.of(decoded(version or b""), performance_schema=performance_schema == b"1")
    start = start_of(await fetch(driver, dialect.start))
    # A server that restarts gives the same ids again.
    connection.know((_ident(driver), start))
    await check_privilege(driver, endpoint)
    if start is None:
        raise SourceError(f"user {endpoint.user!r} cannot read when the server started")
    if start != target.incarnation:  # it is exact
        raise ActError(ActFault.GONE, "the server has restarted, and the session has ended")
    return dialect


def _ident(driver: Driver) -> bytes:
    """Return a connection's id as the server lists it."""
    return str(driver.thread_id()).encode()


async def _command(
    driver: Driver,
    dialect: Dialect,
    seen: ThreadRow | None,
    now: Callable[[], float],
    action: Action,
    target: Target,
) -> str:
    """Return the statement that acts on a target, if it is still there. Raises `ActError`."""
    ident = int(target.item.key)
    found = await fetch(driver, dialect.thread(ident))
    if not found:
        raise ActError(ActFault.GONE, _GONE)
    row = ThreadRow._make(found[0])
    if not _is_who(row, target.session):
        raise ActError(ActFault.CHANGED, "the session is another one now")
    if action is Action.TERMINATE:
        return f"KILL CONNECTION {ident}"
    if row.command in _IDLE:
        raise ActError(ActFault.NO_STATEMENT, "the session runs no statement")
    if target.same_statement and not _is_same_statement(row, seen, target.session, now()):
        raise ActError(ActFault.CHANGED, _OTHER_STATEMENT)
    # MariaDB numbers the statements.
    return f"KILL QUERY {ident}" if row.query_id is None else f"KILL QUERY ID {int(row.query_id)}"


def _is_who(row: ThreadRow, session: Session) -> bool:
    """Return whether a thread has the client that was observed."""
    now = Session()
    set_client(now, row)
    return (now.user, now.remote, now.port) == (session.user, session.remote, session.port)


def _is_same_statement(
    row: ThreadRow, seen: ThreadRow | None, session: Session, moment: float
) -> bool:
    """Return whether a thread runs what it ran when it was observed."""
    if seen is None or (row.query_id, row.command) != (seen.query_id, seen.command):
        return False
    if row.query_id is not None:
        return True
    began = active_at(row, moment)
    return (
        isinstance(began, float)
        and session.HasField("last_active_time")
        and abs(began - seconds_of(session.last_active_time)) <= TOLERANCE
    )


async def _strike(driver: Driver, endpoint: Endpoint, command: str) -> None:
    try:
        with _naming(endpoint):
            await fetch(driver, command)
    except _ServerError as refusal:
        error = refusal.error
        if error.args[0] == _NO_THREAD:
            raise ActError(ActFault.GONE, _GONE) from None
        if error.args[0] == _NO_STATEMENT:
            raise ActError(ActFault.CHANGED, _OTHER_STATEMENT) from None
        raise ActError(ActFault.REFUSED, str(refusal)) from None


class _ServerError(SourceError):
    """The server answered with an error."""

    def __init__(self, text: str, error: errors.MySQLError) -> None:
        super().__init__(text)
        self.error = error


@contextmanager
def _naming(endpoint: Endpoint) -> Iterator[None]:
    """Turn errors into `SourceError`s that name the server."""
    try:
        yield
    except SourceError as error:
        raise type(error)(f"{endpoint}: {error}") from None
    except ActError:
        raise
    except Exception as error:  # a driver that reads garbage may raise anything
        text = f"{endpoint}: {endpoint.censored(driver_cause(error))}"
        if isinstance(error, errors.MySQLError) and is_servers(error):
            raise _ServerError(text, error) from None
        raise SourceError(text) from None


def _descriptor(transport: asyncio.BaseTransport) -> int:
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else int(connection.fileno())
