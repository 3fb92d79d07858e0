"""A check whether a port uses TLS, to explain why it did not respond without TLS."""

from __future__ import annotations

import asyncio
import ssl

from sessiongate.core.sources.base import SourceError

_TIMEOUT = 2.0  # seconds


async def refuse_tls(host: str, port: int) -> None:
    """Raise `SourceError` if a port that did not respond without TLS uses TLS."""
    if await uses_tls(host, port):
        raise SourceError("this port uses TLS, but the source is configured without it")


async def uses_tls(host: str, port: int) -> bool:
    """Return whether a TLS handshake succeeds; nothing is sent, so nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_TIMEOUT):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
