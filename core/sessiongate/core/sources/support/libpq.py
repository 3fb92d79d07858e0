"""A connection to PostgreSQL, or to PgBouncer's console, which uses the same protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from psycopg import Error, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGresult

from sessiongate.core.sources.base import DEFAULT_MAX_SESSIONS, SourceConnectError, SourceError
from sessiongate.core.sources.support.causes import meaning
from sessiongate.core.sources.support.cells import Cell, decode_text
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.pacing import mapped
from sessiongate.core.sources.support.pq import PqConnection, RefusedError
from sessiongate.core.sources.support.resolution import addresses
from sessiongate.runtime.daemon_thread import in_daemon_thread

APPLICATION = "sessiongate"
_MAX_COLUMNS = 100  # of a result that are read
_SHOWN = 1000  # bytes of an error text
# Without TLS, a server that requests the password itself does not get it.
_NO_CLEARTEXT = "!password"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of a query: the names of its columns, and its rows."""

    columns: Sequence[str]
    rows: Sequence[tuple[Cell, ...]]


def parameters_of(
    endpoint: Endpoint, database: str, address: str | None = None, **others: str
) -> str:
    """Return libpq's parameters for an endpoint, or one of its addresses; this reads files.

    Raises `SourceError`.
    """
    clear = endpoint.tls is None
    return make_conninfo(
        host=endpoint.host,
        hostaddr=None if endpoint.is_unix else address,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password(),
        dbname=database,
        gssencmode="disable",  # it would replace TLS, unverified
        sslmode="disable" if endpoint.tls is None else "verify-full",
        sslrootcert=None if endpoint.tls is None else endpoint.tls.ca_file(),
        require_auth=_NO_CLEARTEXT if clear and not endpoint.is_unix else None,
        # So that no conversion loses a name: see `decode_text`.
        **{"application_name": APPLICATION, "client_encoding": "SQL_ASCII", **others},
    )


class QueryRefusedError(SourceError):
    """The server answered a query with an error."""


class LibpqClient:
    """Queries one server, over a connection made when needed and kept while it works.

    A query that fails or is cancelled closes the connection, so that no result is
    ever mistaken for another query's.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        database: str,
        setup: str,
        *,
        needs_setup: bool = True,
        most: int = 2 * DEFAULT_MAX_SESSIONS,
        application: str = APPLICATION,
    ) -> None:
        """Run the query ``setup`` first on every new connection; see `setup_answer`.

        Without ``needs_setup`` the server may reject it. At most ``most`` rows of a result
        are read. The server knows the connection as ``application``'s.
        """
        self._most = most
        self._application = application
        self._endpoint = endpoint
        self._database = database
        self._setup = setup
        self._needs_setup = needs_setup
        self._connection: PqConnection | None = None
        self.connections = 0  # made so far
        self.setup_answer = QueryResult((), ())  # what `setup` selected over this connection

    async def query(
        self, *queries: str, optional: Sequence[str] = (), once: bool = False
    ) -> list[QueryResult]:
        """Return the results of queries, run one after the other, then of ``optional`` ones.

        The server may reject those: their result is then empty.
        A kept connection that the server has closed is replaced once, unless the queries
        must run at most ``once``. Raises `SourceError`, which names the server and contains
        no password; `SourceConnectError` if there is nothing to connect to;
        `QueryRefusedError` if the server rejects a query.
        """
        try:
            if self._connection is not None:
                if once:
                    return await self._results(queries, optional)
                with suppress(_ClosedError):
                    return await self._results(queries, optional)
            await self._connect()
            return await self._results(queries, optional)
        except BaseException as error:
            await self.close()
            if isinstance(error, SourceError) or not isinstance(error, Exception):
                raise
            # A driver that reads garbage may raise anything.
            cause = self._endpoint.censored(_cause(error))
            kind = QueryRefusedError if isinstance(error, RefusedError) else SourceError
            raise kind(f"{self._endpoint}: {cause}") from None

    async def close(self) -> None:
        """Close the connection, if there is one. The next query makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def local_end(self) -> tuple[str, int] | None:
        """Return this end's address and port; None without a connection or for a Unix socket."""
        if self._connection is None or self._endpoint.is_unix:
            return None
        return self._connection.local_end()

    async def _connect(self) -> None:
        await self.close()
        endpoint = self._endpoint
        try:
            hosts = [endpoint.host] if endpoint.is_unix else await addresses(self, endpoint.host)
        except SourceConnectError as error:
            raise SourceConnectError(f"{endpoint}: {error}") from None
        for number, host in enumerate(hosts, 1):
            self._connection = PqConnection(f"{endpoint}: ")
            try:
                parameters = await in_daemon_thread(
                    object(),
                    partial(
                        parameters_of,
                        *(endpoint, self._database, host),
                        application_name=self._application,
                    ),
                )
                await self._connection.open(parameters)
                break
            except OperationalError as error:
                await self.close()
                if await _is_there(host, endpoint):
                    raise
                if number == len(hosts):
                    raise SourceConnectError(f"{endpoint}: {_cause(error)}") from None
        self.connections += 1
        ask = self._query if self._needs_setup else self._query_if_allowed
        self.setup_answer = await ask(self._setup)

    async def _results(self, queries: Sequence[str], optional: Sequence[str]) -> list[QueryResult]:
        results = [await self._query(query) for query in queries]
        return results + [await self._query_if_allowed(query) for query in optional]

    async def _query_if_allowed(self, query: str) -> QueryResult:
        try:
            return await self._query(query)
        except RefusedError:
            return QueryResult((), ())

    async def _query(self, query: str) -> QueryResult:
        connection = self._connection
        assert connection is not None  # noqa: S101 - query() has made it
        try:
            return await _answer(await connection.query(query), self._most)
        except Error as error:
            if connection.is_lost:
                raise _ClosedError(error) from None
            raise


class _ClosedError(Exception):
    """The connection is lost."""


async def _is_there(host: str, place: Endpoint) -> bool:
    """Return whether anything accepts connections: the driver's errors say it only in text."""
    try:
        if place.is_unix:
            path = f"{place.host}/.s.PGSQL.{place.port}"
            _, writer = await asyncio.open_unix_connection(path)
        else:
            _, writer = await asyncio.open_connection(host, place.port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _answer(result: PGresult | None, most: int) -> QueryResult:
    """Return all cells undecoded: the driver would reject a whole result for one of them."""
    if result is None:
        return QueryResult((), ())
    columns, cell = range(min(result.nfields, _MAX_COLUMNS)), result.get_value
    return QueryResult(
        [decode_text(result.fname(column) or b"") for column in columns],
        await mapped(
            lambda row: tuple([cell(row, column) for column in columns]),
            range(min(result.ntuples, most)),
        ),
    )


def _cause(error: Exception) -> str:
    """Describe an error on one line, without clients' statements."""
    if isinstance(error, _ClosedError):
        error = error.args[0]
    said = None
    if isinstance(error, RefusedError):
        said = error.text
    elif not isinstance(error, Error):
        return f"the response is malformed ({type(error).__name__})"
    elif error.pgconn is not None:  # in the server's encoding, which the driver does not know
        said = error.pgconn.error_message[:_SHOWN]
    return meaning((decode_text(said) if said else str(error)).strip().partition("\n")[0])
