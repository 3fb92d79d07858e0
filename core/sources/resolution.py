"""The addresses of a name, asked of a name service that may hang."""

from __future__ import annotations

import socket

from core.sources.base import SourceConnectError
from runtime.apart import HangsError, apart

_MOST = 16  # addresses that are tried


async def addresses(host: str) -> list[str]:
    """The addresses of a host, the best first; of an address it is that one alone.

    Each name has a thread of its own, and one question under way: a name that hangs holds up
    no other. Raises `SourceConnectError`.
    """
    try:
        found = await apart(("addresses", host), lambda: _found(host))
    except HangsError:
        raise SourceConnectError(f"{host}: no answer of the name service") from None
    except (OSError, UnicodeError) as error:
        raise SourceConnectError(f"{host}: no address is known for this name") from error
    return found[:_MOST]


def _found(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(end[0]) for *_, end in found))
