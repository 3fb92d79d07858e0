"""The driver for MariaDB and MySQL, with limits that it lacks itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

from asyncmy import errors
from asyncmy.connection import Connection
from asyncmy.constants.CR import CR_CONN_HOST_ERROR
from asyncmy.cursors import SSCursor
from asyncmy.protocol import FieldDescriptorPacket, MysqlPacket

from sessiongate.core.sources.base import SourceConnectError, SourceError
from sessiongate.core.sources.support.causes import meaning
from sessiongate.core.sources.support.cells import Cell
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.moments import timestamp
from sessiongate.core.sources.support.mysql_cells import integer
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.resolution import addresses
from sessiongate.runtime.daemon_thread import in_daemon_thread

# Without the PROCESS privilege the server silently shows only the user's own threads.
# An engine's status requires the privilege too, and this engine has none: this is the
# cheapest query that fails without it.
_NEEDS_PROCESS = "SHOW ENGINE MEMORY STATUS"
_NOT_ALLOWED = 1227
_FOREVER = 31536000  # the driver's timeout; the collector limits whole observations
_DRIVER_ERRORS = 2000  # from this number on, errors are the driver's, not the server's
# Rows read at a time, and the default limit of a result.
_AT_ONCE = 100
_FEW = 1000
_SHOWN = 200  # characters of an error text
_MAX_COLUMNS = 100
_OWN_ERRORS = range(2000, 3000)  # the driver's, not the server's


class Driver(Connection):
    """A connection that limits the columns of a result, and waits for nobody to close."""

    columns = 0  # of this result so far
    _transport: asyncio.WriteTransport | None  # the driver's own: its types lack it

    async def read_packet(self, packet_type: type = MysqlPacket) -> MysqlPacket:
        """Read the next packet. Raises `SourceError` if there are too many columns.

        The driver itself keeps all of them.
        """
        if packet_type is FieldDescriptorPacket:
            self.columns += 1
            if self.columns > _MAX_COLUMNS:
                raise SourceError(f"the response has more than {_MAX_COLUMNS} columns")
        packet: MysqlPacket = await super().read_packet(packet_type)  # type: ignore[no-untyped-call] # it has no types
        return packet

    def close(self) -> None:
        """Close the connection without waiting for the server: not even TLS is shut down."""
        if self._transport is not None:
            self._transport.abort()
        super().close()


class _Refused:
    """A login method that would send the password in cleartext."""

    def __init__(self, driver: Driver) -> None:
        """Accept the arguments that the driver passes to a plugin."""

    def authenticate(self, packet: object) -> None:
        raise SourceError("the server requests the password in cleartext, which requires TLS")


NO_CLEARTEXT = {"mysql_clear_password": _Refused, "dialog": _Refused}


def is_servers(error: errors.MySQLError) -> bool:
    """Return whether the server answered with this error: the connection is still usable."""
    number = error.args[0] if error.args else None
    return isinstance(number, int) and number not in _OWN_ERRORS


def is_unconnected(error: errors.OperationalError) -> bool:
    """Return whether the server could not be reached at all.

    The driver raises the same error if a connection breaks while TLS begins.
    """
    cause = error.__cause__
    broken = isinstance(cause, ConnectionError) and not isinstance(cause, ConnectionRefusedError)
    is_reached = broken or isinstance(cause, ssl.SSLError)
    return error.args[:1] == (CR_CONN_HOST_ERROR,) and not is_reached


async def log_in(owner: object, endpoint: Endpoint) -> Driver:
    """Connect to a server for an owner, whose only look-up of its host is awaited at a time.

    Raises `SourceError`, or what the driver raises; `SourceConnectError` if there is nothing to
    connect to.
    """
    if not endpoint.is_unix:  # the driver looks it up again, and the result is cached by then
        await addresses(owner, endpoint.host)
    context = await in_daemon_thread(object(), endpoint.tls.context) if endpoint.tls else None
    private = context is not None or endpoint.is_unix
    driver = Driver(
        host=None if endpoint.is_unix else endpoint.host,
        port=endpoint.port,
        unix_socket=endpoint.host if endpoint.is_unix else None,
        user=endpoint.user,
        password=await in_daemon_thread(object(), endpoint.password) or "",
        ssl=context,
        charset="utf8mb4",
        # Leave text undecoded: the driver would reject a whole result for one odd character.
        use_unicode=False,
        conv={},
        autocommit=True,
        connect_timeout=_FOREVER,
        auth_plugin_map={} if private else NO_CLEARTEXT,
    )
    try:
        await driver.connect()
    except BaseException as error:
        driver.close()
        if isinstance(error, errors.OperationalError) and is_unconnected(error):
            raise SourceConnectError(driver_cause(error)) from None
        raise
    return driver


async def check_privilege(driver: Driver, endpoint: Endpoint) -> None:
    """Raise `SourceError` unless the user sees the threads of others."""
    try:
        await fetch(driver, _NEEDS_PROCESS)
    except errors.MySQLError as error:
        if error.args[:1] != (_NOT_ALLOWED,):
            raise
        raise SourceError(
            f"user {endpoint.user!r} lacks the PROCESS privilege: GRANT PROCESS ON *.*"
        ) from None


async def fetch(driver: Driver, query: str, most: int = _FEW) -> Sequence[Sequence[Cell]]:
    """Return the rows of a query. Raises `SourceError` if there are more than ``most``."""
    driver.columns = 0
    cursor, pace = driver.cursor(SSCursor), Pace()  # this cursor reads only what is fetched
    await cursor.execute(query)
    rows: list[Sequence[Cell]] = []
    while part := await cursor.fetchmany(_AT_ONCE):
        rows += part
        if len(rows) > most:
            raise SourceError(f"the response has more than {most:,} rows")
        if pace.is_due:
            await pace.rest()
    await cursor.close()
    return rows


def start_of(rows: Sequence[Sequence[Cell]]) -> float | None:
    """Return the server's start, in seconds since the epoch; None if it does not state it."""
    seconds = integer(rows[0][0]) if rows else None
    try:
        return None if seconds is None else float(timestamp(seconds * 10**9).seconds)
    except ValueError:
        return None


def driver_cause(error: Exception) -> str:
    """Describe an error to an operator."""
    if isinstance(error, errors.MySQLError) and len(error.args) == 2:
        code, text = error.args
        if isinstance(code, int) and code >= _DRIVER_ERRORS:
            return meaning(" ".join(str(text).split())[:_SHOWN])
        return f"{' '.join(str(text).split())[:_SHOWN]} ({code})"
    if isinstance(error, RuntimeError):  # a login method requires a package
        return str(error)[:_SHOWN]
    return f"the response is not from a MariaDB or MySQL server ({type(error).__name__})"
