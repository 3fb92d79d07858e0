"""The driver for MariaDB and MySQL, with limits that it lacks itself."""

from __future__ import annotations

import asyncio
import ssl

from asyncmy import errors
from asyncmy.connection import Connection
from asyncmy.constants.CR import CR_CONN_HOST_ERROR
from asyncmy.protocol import FieldDescriptorPacket, MysqlPacket

from sessiongate.core.sources.base import (
    SourceError,
)

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
