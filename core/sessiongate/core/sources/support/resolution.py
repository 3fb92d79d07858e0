"""Resolution of host names, by a name service that may hang."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Hashable
from contextlib import suppress

from sessiongate.core.sources.base import SourceConnectError
from sessiongate.runtime.daemon_thread import HangsError, in_daemon_thread

_MOST = 16  # addresses that are tried


async def addresses(of: Hashable, host: str) -> list[str]:
    """Return a host's addresses, the best first; for an address, only that address.

    ``of`` is the caller. Each caller has its own thread, and one lookup at a time: a lookup
    that hangs delays no other caller. Raises `SourceConnectError`.
    """
    try:
        found = await in_daemon_thread(("addresses", of), lambda: _found(host))
    except HangsError:
        raise SourceConnectError("the name service does not respond") from None
    except (OSError, UnicodeError) as error:
        raise SourceConnectError("the host name cannot be resolved") from error
    return found[:_MOST]


async def connected(
    of: Hashable, host: str, port: int, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address of a host that accepts the connection, as asyncio does.

    Raises `SourceConnectError`, and the last address's OSError.
    """
    *others, last = await addresses(of, host)
    for address in others:
        with suppress(OSError):
            return await asyncio.open_connection(address, port, limit=limit)
    return await asyncio.open_connection(last, port, limit=limit)


def _found(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(end[0]) for *_, end in found))
