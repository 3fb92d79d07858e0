"""``haproxy:PATH`` or ``haproxy://HOST:PORT``: the streams of HAProxy 2.2 to 3.x.

They are read from a stats socket of ``level operator``, over a new connection for
each observation: HAProxy closes it after the last response, so that an incomplete
response is never mistaken for a complete one. Options: ``links=true`` also reads the
addresses of the backend connections, which is costly; ``include_self=true`` shows
the clients of the stats sockets; ``action_socket=PLACE`` is a stats socket of ``level admin`` to
act through, ``best_effort=true`` accepts its risk (`core.sources.acts.haproxy`).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from urllib.parse import unquote

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
from sessiongate.core.sources.support.endpoint import flag
from sessiongate.core.sources.support.stats_socket import ask_socket, connect_socket, socket_cause
from sessiongate.core.sources.support.streams import Streams
from sessiongate.core.sources.support.tls_probe import refuse_tls
from sessiongate.runtime.addresses import Address

_RISK = (
    "HAProxy can end a session only by a pointer, which may be another session's a moment later;"
    " add best_effort = true if you accept that, or remove actions"
)


class HAProxySource:
    """The streams of one HAProxy process, read from its stats socket."""

    possible_actions = (Action.TERMINATE,)

    def __init__(
        self,
        place: Address | str,
        *,
        links: bool = False,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        now: Callable[[], float] = time.time,
        acting: Address | str | None = None,
    ) -> None:
        """Read from an address or a Unix socket's path; ``now`` is in seconds since the epoch.

        ``acting`` is the place of another socket, if that is for acting.
        """
        self._place = place
        self._acting = acting or place
        self._links = links
        self._now = now
        is_here = isinstance(place, str) or place.is_loopback
        # Read more than the core shows: it prefers the sessions that it knows already.
        self._streams = Streams(include_self=include_self, is_here=is_here, most=2 * max_sessions)
        # A separate thread, so that a large response delays nothing else.
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="haproxy")

    async def observe(self) -> Observation:
        """Return the current streams. Raises `SourceError`, which names the socket."""
        reader, writer = await connect_socket(self, self._place)
        try:
            command = "show sess all" if self._links else "show sess"
            answer = await ask_socket(reader, writer, f"show info;{command}\n")
            if not answer and isinstance(self._place, Address):
                await refuse_tls(self._place.host, self._place.port)
            read = partial(self._streams.read, answer, self._now(), blocks=self._links)
            return await asyncio.get_running_loop().run_in_executor(self._reader, read)
        except OSError as error:
            raise SourceError(f"{self._place}: {socket_cause(error)}") from None
        except SourceError as error:
            raise SourceError(f"{self._place}: {error}") from None
        finally:
            writer.transport.abort()

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Aim at a stream."""
        from sessiongate.core.sources.acts.haproxy import aim  # only if that is allowed

        return aim(self, self._acting, self._now, target)

    async def close(self) -> None:
        """Shut the thread down. Nothing else is kept open."""
        self._reader.shutdown(wait=False, cancel_futures=True)


def open_source(config: SourceConfig) -> HAProxySource:
    """Open the HAProxy that a configuration names. Raises `SourceConfigError`."""
    options = config.take("links", "include_self", "action_socket", "best_effort")
    socket = options.get("action_socket")
    for name in ("action_socket", "best_effort"):
        if name in options and not config.actions:
            raise SourceConfigError(f"source {config.name}: {name} has no effect without actions")
    if config.actions and not flag(config, "best_effort"):
        raise SourceConfigError(f"source {config.name}: actions: {_RISK}")
    return HAProxySource(
        _place(config, config.location),
        links=flag(config, "links"),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
        acting=None if socket is None else _place(config, socket),
    )


def _place(config: SourceConfig, location: str) -> Address | str:
    """Read the place of a stats socket."""
    if not location.startswith("//"):
        return os.path.abspath(unquote(location))
    try:
        return Address.parse(location[2:])
    except ValueError:
        raise SourceConfigError(
            f"source {config.name}: the URL must be haproxy:PATH or haproxy://HOST:PORT"
        ) from None
