"""Requests to HAProxy's stats sockets, each over a connection of its own."""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from contextlib import suppress

from sessiongate.core.sources.base import SourceConnectError
from sessiongate.core.sources.support.causes import meaning
from sessiongate.core.sources.support.received import MAX_RECEIVED_BYTES, too_large
from sessiongate.core.sources.support.resolution import connected
from sessiongate.runtime.addresses import Address

_CHUNK = 64 * 1024


async def connect_socket(
    owner: object, place: Address | str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to an address or a Unix socket's path. Raises `SourceConnectError`."""
    try:
        if isinstance(place, Address):
            return await connected(owner, place.host, place.port, _CHUNK)
        return await asyncio.open_unix_connection(place, limit=_CHUNK)
    except OSError as error:
        raise SourceConnectError(f"{place}: {socket_cause(error)}") from None
    except SourceConnectError as error:
        raise SourceConnectError(f"{place}: {error}") from None


async def ask_socket(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: str
) -> list[str]:
    """Return the response to a line of commands, all of it from the same process.

    It is returned in parts: joining 128 MiB would block this process for 0.1 s. Nothing more
    can be asked over this connection.
    """
    writer.write(commands.encode())
    # HAProxy itself closes the connection after the response; its master process, if
    # configured by mistake, waits for more commands until the end of input.
    with suppress(OSError):  # the connection is already reset
        writer.write_eof()
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    answer: list[str] = []
    size = 0
    with suppress(ConnectionError):  # what arrived says more, or shows that it is incomplete
        while chunk := await reader.read(_CHUNK):
            answer.append(decoder.decode(chunk))
            size += len(chunk)
            if size > MAX_RECEIVED_BYTES:
                raise too_large()
    return [part for part in (*answer, decoder.decode(b"", final=True)) if part]


def socket_cause(error: OSError) -> str:
    """Describe an error to an operator."""
    return meaning(error.strerror or str(error))
