"""``mariadb://`` and ``mysql://``: the client connections of a MariaDB or MySQL server.

They are read from the process list over one connection that stays open. Options:
``statements=true`` reads the clients' statements, ``include_self=true`` shows this
connection too, and those of acts; and those of all network sources
(`core.sources.support.endpoint`), also for those who act (`core.sources.acts.mysql`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

from asyncmy import errors

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Action,
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceError,
    Strike,
    Target,
)
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.endpoint import (
    ACTION_OPTIONS,
    CREDENTIAL_OPTIONS,
    TLS_OPTIONS,
    Endpoint,
    flag,
)
from sessiongate.core.sources.support.innodb import HAS_INNODB, MAX_PAIRS, InnoDB
from sessiongate.core.sources.support.mysql_cells import decoded, integer
from sessiongate.core.sources.support.mysql_dialect import Dialect, LockTables
from sessiongate.core.sources.support.mysql_driver import (
    Driver,
    check_privilege,
    driver_cause,
    fetch,
    is_servers,
    log_in,
    start_of,
)
from sessiongate.core.sources.support.own_connections import OwnConnections
from sessiongate.core.sources.support.pacing import mapped
from sessiongate.core.sources.support.peer import canonical_address
from sessiongate.core.sources.support.processlist import ProcessList
from sessiongate.core.sources.support.received import limit_received
from sessiongate.core.sources.support.spelling import DEFAULT_PORTS
from sessiongate.core.sources.support.thread_activity import NO_TRANSACTIONS, Transactions
from sessiongate.core.sources.support.threads import Threads
from sessiongate.runtime.elapsed import elapsed

_NO_TABLE = (1109, 1142, 1146)  # unknown, not allowed, does not exist

_ATTRIBUTES = (
    "SELECT PROCESSLIST_ID, ATTR_NAME, ATTR_VALUE"
    " FROM performance_schema.session_connect_attrs WHERE PROCESSLIST_ID IN ({})"
)

_LOGOUT_TIMEOUT = 1.0  # seconds

_MAX_ATTRIBUTES = 1000  # of a client: by default the server keeps some 512 bytes


class MariaDBSource:
    """A server's client connections, read from its process list."""

    possible_actions = (Action.CANCEL, Action.TERMINATE)

    def __init__(
        self,
        endpoint: Endpoint,
        service: str,
        *,
        statements: bool = False,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        now: Callable[[], float] = time.time,
        acting: Endpoint | None = None,
    ) -> None:
        """Show sessions on ``service``; ``now`` is in seconds since the epoch.

        ``acting`` is the server with other credentials, if those are for acting.
        """
        self._endpoint = endpoint
        self._acting = acting or endpoint
        self._service = service
        self._statements = statements
        self._include_self = include_self
        # Read more than the core shows: it prefers the sessions that it knows already.
        self._most = 2 * max_sessions
        self._now = now
        self._driver: Driver | None = None
        self._transport: asyncio.BaseTransport | None = None  # the driver's
        # What is known about the server; valid as long as the connection, which ends with it.
        self._query = ""
        self._has_attributes = False
        self._processes: ProcessList | None = None
        self._innodb: InnoDB | None = None  # None if the server has no InnoDB
        self._own = OwnConnections(are_shown=include_self)

    async def observe(self) -> Observation:
        """Return the current client connections. Raises `SourceError`, which names the server."""
        try:
            if self._driver is not None and (observation := await self._look_again()):
                return observation
            return await self._look(await self._connect())
        except SourceError as error:
            self._drop()
            raise type(error)(f"{self._endpoint}: {error}") from None
        except Exception as error:  # a driver that reads garbage may raise anything
            self._drop()
            cause = self._endpoint.censored(driver_cause(error))
            raise SourceError(f"{self._endpoint}: {cause}") from None
        except BaseException:  # cancelled within a response: the rest would be read as the next one
            self._drop()
            raise

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Aim at a connection."""
        from sessiongate.core.sources.acts.mysql import aim  # only if that is allowed

        seen = None if self._processes is None else self._processes.stated(target.item)
        return aim(self._acting, self._own, seen, self._now, action, target)

    async def close(self) -> None:
        """Log out: otherwise the server counts an aborted client."""
        with suppress(Exception):
            async with asyncio.timeout(_LOGOUT_TIMEOUT):
                if self._driver is not None:
                    await self._driver.ensure_closed()
        self._drop()

    async def _look_again(self) -> Observation | None:
        """Read over the open connection; return None if the server closed it meanwhile."""
        assert self._driver is not None  # noqa: S101
        try:
            return await self._look(self._driver)
        except errors.OperationalError:
            self._drop()
            return None

    async def _look(self, driver: Driver) -> Observation:
        processes = self._processes
        assert processes is not None  # noqa: S101
        transactions = await self._transactions(driver)
        requested, (start, _) = elapsed(), processes.run
        async with limit_received(self._descriptor):
            rows = await fetch(driver, self._query, self._most)
        moment = self._now()
        rows = await self._own.left_out(rows, lambda row: (row[0], start), requested)
        threads = await Threads.of(rows)
        if self._has_attributes and (unknown := await processes.unknown_clients(threads)):
            async with limit_received(self._descriptor):
                processes.remember(await _attributes(driver, unknown))
        return await processes.read(threads, moment, transactions)

    async def _transactions(self, driver: Driver) -> Transactions | None:
        """Return the server's transactions; None if they are not known now."""
        if self._innodb is None:
            return NO_TRANSACTIONS
        ask = partial(fetch, driver, most=max(self._most, MAX_PAIRS))
        try:
            async with limit_received(self._descriptor):
                return await self._innodb.read(ask, self._now)
        except errors.MySQLError as error:
            if not is_servers(error):
                raise
            await fetch(driver, "COMMIT")
            return None

    async def _connect(self) -> Driver:
        self._driver = driver = await log_in(self, self._endpoint)
        _, self._transport = await driver.connect()  # already connected: this returns the transport
        async with limit_received(self._descriptor):
            return await self._introduced(driver)

    async def _introduced(self, driver: Driver) -> Driver:
        """Query the server's version and abilities, and return the connection."""
        ((version, performance_schema),) = await fetch(
            driver, "SELECT VERSION(), @@performance_schema"
        )
        has_schema = performance_schema == b"1"
        dialect = Dialect.of(decoded(version or b""), performance_schema=has_schema)
        await check_privilege(driver, self._endpoint)
        start = start_of(await fetch(driver, dialect.start))
        self._own.reads((str(driver.thread_id()).encode(), start))
        self._has_attributes = has_schema and await _may_read(driver, _ATTRIBUTES.format(0))
        self._innodb = await self._opened_innodb(driver, dialect.lock_tables)
        self._query = dialect.query(
            statements=self._statements, include_self=self._include_self, most=self._most
        )
        run = (start, None if self._transport is None else _address(self._transport))
        if self._processes is None or self._processes.run != run or start is None:
            self._processes = ProcessList(self._service, *run, statements=self._statements)
        return driver

    async def _opened_innodb(self, driver: Driver, tables: LockTables) -> InnoDB | None:
        if not await _may_read(driver, HAS_INNODB):
            return None
        await fetch(driver, "SET time_zone = 'SYSTEM'")  # in which InnoDB states its times
        may_see = await _may_read(driver, tables.pairs_query(0))
        return InnoDB(tables if may_see else None, driver.thread_id(), self._most)

    def _descriptor(self) -> int:
        """Return the connection's file descriptor; -1 without a connection."""
        transport = self._transport
        connection = transport.get_extra_info("socket") if transport is not None else None
        return -1 if connection is None else int(connection.fileno())

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        self._transport = None
        if driver is not None:
            driver.close()


async def _may_read(driver: Driver, query: str) -> bool:
    """Return whether a query's table exists, and this user may read it."""
    try:
        await fetch(driver, query)
    except errors.MySQLError as error:
        if error.args[0] not in _NO_TABLE:
            raise
        return False
    return True


async def _attributes(driver: Driver, idents: Iterable[int]) -> dict[int, dict[str, str]]:
    """Return these clients' connection attributes; empty for one that left or sent none."""
    attributes: dict[int, dict[str, str]] = {ident: {} for ident in idents}

    def read(row: Sequence[Cell]) -> None:
        cell, name, value = row
        ident = integer(cell)
        if ident in attributes and name is not None and value is not None:
            of_client = attributes[ident]
            if len(of_client) < _MAX_ATTRIBUTES:
                of_client[decoded(name)] = decoded(value)

    query = _ATTRIBUTES.format(",".join(map(str, attributes)))
    await mapped(read, await fetch(driver, query, _MAX_ATTRIBUTES * len(attributes)))
    return attributes


def _address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Return the address at which the server was reached; None through a Unix socket."""
    end = transport.get_extra_info("peername")
    if not isinstance(end, tuple):
        return None
    known = canonical_address(end[0].partition("%")[0])
    return None if known is None else (known, end[1])


def open_source(config: SourceConfig) -> MariaDBSource:
    """Open the server that a configuration names. Raises `SourceConfigError`."""
    config.take(*("statements", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS, *ACTION_OPTIONS))
    endpoint = Endpoint.of(config, port=DEFAULT_PORTS["mariadb"])
    if endpoint.user is None:
        raise SourceConfigError(f"source {config.name}: a user is required: //USER@HOST")
    if endpoint.path:
        raise SourceConfigError(
            f"source {config.name}: the URL must not name a database; all of them are shown"
        )
    return MariaDBSource(
        endpoint,
        config.name,
        statements=flag(config, "statements"),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
        acting=endpoint.for_actions(config),
    )
