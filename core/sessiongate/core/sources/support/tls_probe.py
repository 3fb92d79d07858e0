"""A check whether a port speaks TLS, to explain why it did not answer in the clear."""

from __future__ import annotations

import asyncio
import ssl

from sessiongate.core.sources.base import SourceError

_PATIENCE = 2.0  # seconds


async def refuse_tls(host: str, port: int) -> None:
    """Raise `SourceError` if a port that gave no answer in the clear speaks TLS."""
    if await speaks_tls(host, port):
        raise SourceError("this port speaks TLS, and was asked in the clear")


async def speaks_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake succeeds there; nothing is sent, and nobody is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
