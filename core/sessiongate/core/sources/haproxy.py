"""``haproxy:PATH`` or ``haproxy://HOST:PORT``: the streams of HAProxy 2.2 to 3.x.

They are read from a stats socket of ``level operator``, over a new connection for
each observation: HAProxy closes it after the last response, so that an incomplete
response is never mistaken for a complete one. Options: ``links=true`` also reads the
addresses of the backend connections, which is costly; ``include_self=true`` shows
the clients of the stats sockets.
"""

from __future__ import annotations

import asyncio
import os
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from urllib.parse import unquote

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    SourceConfig,
    SourceConfigError,
    SourceConnectError,
    SourceError,
)
from sessiongate.core.sources.support.causes import meaning
from sessiongate.core.sources.support.endpoint import flag
from sessiongate.core.sources.support.received import MAX_RECEIVED_BYTES, too_large
from sessiongate.core.sources.support.resolution import connected
from sessiongate.core.sources.support.streams import Streams
from sessiongate.core.sources.support.tls_probe import refuse_tls
from sessiongate.runtime.addresses import Address

_CHUNK = 64 * 1024


class HAProxySource:
    """The streams of one HAProxy process, read from its stats socket."""

    def __init__(
        self,
        place: Address | str,
        *,
        links: bool = False,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Read from an address or a Unix socket's path; ``now`` is in seconds since the epoch."""
        self._place = place
        self._links = links
        self._now = now
        is_here = isinstance(place, str) or place.is_loopback
        # Read more than the core shows: it prefers the sessions that it knows already.
        self._streams = Streams(include_self=include_self, is_here=is_here, most=2 * max_sessions)
        # A separate thread, so that a large response delays nothing else.
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="haproxy")

    async def observe(self) -> Observation:
        """Return the current streams. Raises `SourceError`, which names the socket."""
        reader, writer = await self._connect()
        try:
            command = "show sess all" if self._links else "show sess"
            answer = await _request(reader, writer, f"show info;{command}\n")
            if not answer and isinstance(self._place, Address):
                await refuse_tls(self._place.host, self._place.port)
            read = partial(self._streams.read, answer, self._now(), blocks=self._links)
            return await asyncio.get_running_loop().run_in_executor(self._reader, read)
        except OSError as error:
            raise SourceError(f"{self._place}: {_cause(error)}") from None
        except SourceError as error:
            raise SourceError(f"{self._place}: {error}") from None
        finally:
            writer.transport.abort()

    async def close(self) -> None:
        """Shut the thread down. Nothing else is kept open."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if isinstance(self._place, Address):
                host, port = self._place.host, self._place.port
                return await connected(self, host, port, _CHUNK)
            return await asyncio.open_unix_connection(self._place, limit=_CHUNK)
        except OSError as error:
            raise SourceConnectError(f"{self._place}: {_cause(error)}") from None
        except SourceConnectError as error:
            raise SourceConnectError(f"{self._place}: {error}") from None


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: str
) -> list[str]:
    """Return the response to a line of commands, all of it from the same process.

    It is returned in parts: joining 128 MiB would block this process for 0.1 s.
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


def _cause(error: OSError) -> str:
    return meaning(error.strerror or str(error))


def open_source(config: SourceConfig) -> HAProxySource:
    """Open the HAProxy that a configuration names. Raises `SourceConfigError`."""
    config.take("links", "include_self")
    place: Address | str
    if config.location.startswith("//"):
        try:
            place = Address.parse(config.location[2:])
        except ValueError:
            raise SourceConfigError(
                f"source {config.name}: the URL must be haproxy:PATH or haproxy://HOST:PORT"
            ) from None
    else:
        place = os.path.abspath(unquote(config.location))
    return HAProxySource(
        place,
        links=flag(config, "links"),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
    )
