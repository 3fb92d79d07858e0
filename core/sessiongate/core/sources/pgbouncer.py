"""``pgbouncer://USER@HOST:6432``: the clients of PgBouncer 1.12 to 1.25.

They are read from its admin console, over one connection that stays open, by a
user in ``stats_users``. Options: ``include_self=true`` shows that connection too, and
those of acts; ``timezone=AREA/CITY`` is the zone in which PgBouncer runs and writes
local times, if it is not this machine's; and those of all network sources
(`core.sources.support.endpoint`), also for those who act (`core.sources.acts.pgbouncer`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from zoneinfo import ZoneInfo

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
from sessiongate.core.sources.support.cells import (
    Cell,
    RowReader,
)
from sessiongate.core.sources.support.endpoint import (
    ACTION_OPTIONS,
    CREDENTIAL_OPTIONS,
    TLS_OPTIONS,
    Endpoint,
    flag,
    zone,
)
from sessiongate.core.sources.support.libpq import APPLICATION, LibpqClient
from sessiongate.core.sources.support.localtime import LocalTime
from sessiongate.core.sources.support.own_connections import OwnConnections
from sessiongate.core.sources.support.pacing import kept
from sessiongate.core.sources.support.pgbouncer_clients import Clients, client_end
from sessiongate.core.sources.support.pgbouncer_console import (
    CONSOLE,
    ClientRow,
    ClientRows,
    Shown,
    awaiting,
    pool_modes,
    shares_port,
)
from sessiongate.core.sources.support.spelling import DEFAULT_PORTS
from sessiongate.runtime.elapsed import elapsed

_CONSOLE, _APPLICATION = CONSOLE.encode(), APPLICATION.encode()
_PARTIAL = (
    "so_reuseport is on: other PgBouncer processes on this port have other clients;"
    " add a source for each process, by its own Unix socket (unix_socket_dir) or port"
)

# Attempts to reach the process that was read before on a shared port. If none succeeds,
# the process counts as ended: with eight processes, this is wrong once in 5,000 times.
_ATTEMPTS = 64


class PgBouncerSource:
    """The clients of one PgBouncer process."""

    possible_actions = (Action.TERMINATE,)

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        zone: ZoneInfo | None = None,
        include_self: bool = False,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        acting: Endpoint | None = None,
    ) -> None:
        """Read times in ``zone``, where PgBouncer runs; None: this machine's zone.

        ``acting`` is the console with other credentials, if those are for acting.
        """
        # Read more than the core shows: it prefers the sessions that it knows already.
        self._most = most = 2 * max_sessions
        self._endpoint = endpoint
        self._acting = acting or endpoint
        self._console = LibpqClient(endpoint, CONSOLE, "SHOW CONFIG", needs_setup=False, most=most)
        self._read_over = 0  # the number of the console connection that was last read
        self._missed = 0  # connections since then, each to another process
        self._include_self = include_self
        self._acts = OwnConnections(are_shown=include_self)
        self._rows = ClientRows(), ClientRows()  # of its clients and servers
        self._clients = Clients(LocalTime(zone))

    async def observe(self) -> Observation:
        """Return the current clients. Raises `SourceError`, which names PgBouncer."""
        shown = await self._query()
        while await self._is_another_process(shown.clients) and self._missed < _ATTEMPTS:
            self._missed += 1
            await self._console.close()
            shown = await self._query()
        self._read_over, self._missed = self._console.connections, 0
        partial = _PARTIAL if self._shares_port() else ""
        return await self._clients.read(shown, partial)

    async def _query(self) -> Shown:
        requested = elapsed()
        *answers, pools = await self._console.query(
            "SHOW CLIENTS", "SHOW SERVERS", optional=["SHOW POOLS"]
        )
        waiting, modes = await awaiting(answers[0]), await pool_modes(pools)
        try:
            clients, servers = [
                await each.read(answer) for each, answer in zip(self._rows, answers, strict=True)
            ]
        except SourceError as error:
            raise SourceError(f"{self._endpoint}: {error}") from None
        clients = await self._acts.left_out(clients, _place, requested)
        console = await kept(_is_console, clients)
        # The request for this answer is the console's last.
        now = max((client.request_time or b"" for client in console), default=None)
        if not self._include_self:
            own = self._own(console)
            clients = await kept(lambda client: client.ptr not in own, clients)
        return Shown(clients, servers, waiting, modes, now)

    async def _is_another_process(self, clients: Sequence[ClientRow]) -> bool:
        """Return whether a new connection to a shared port has reached another process."""
        is_new = self._read_over != self._console.connections
        return is_new and self._shares_port() and await self._clients.are_others(clients)

    def _shares_port(self) -> bool:
        """Return whether other processes may listen where this one was reached."""
        return shares_port(self._console, self._endpoint)

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Aim at a client."""
        from sessiongate.core.sources.acts.pgbouncer import aim  # only if that is allowed

        return aim(self._acting, self._acts, self._most, target)

    async def close(self) -> None:
        """Close the connection."""
        await self._console.close()

    def _own(self, console: Sequence[ClientRow]) -> Collection[Cell]:
        """Return the ``ptr`` of the clients of the console that are this source.

        That is the console client at this end's address, or this process at the other
        end of a Unix socket. If address translation hides both, it is the only client
        with this source's application name.
        """
        here = self._console.local_end()
        exact = [client.ptr for client in console if _is_at(client, here)]
        return exact or ([console[0].ptr] if len(console) == 1 else [])


def _is_console(client: ClientRow) -> bool:
    """Return whether a client uses the console, and may be this source."""
    return client.database == _CONSOLE and _application(client) in (_APPLICATION, None)


def _place(client: ClientRow) -> tuple[Cell, Cell]:
    return client.database, _application(client)


def _application(client: ClientRow) -> Cell:
    """Return a client's application, without the address that PgBouncer may add."""
    name = client.application_name
    return None if name is None else name.partition(b" ")[0]


def _is_at(client: ClientRow, here: tuple[str, int] | None) -> bool:
    """Return whether a client is at this address, or is this process, through a Unix socket."""
    if here is None:
        return client.remote_pid == str(os.getpid()).encode()
    members = RowReader("SHOW CLIENTS", client)
    return client_end(members, "addr", "port") == here


def open_source(config: SourceConfig) -> PgBouncerSource:
    """Open the PgBouncer that a configuration names. Raises `SourceConfigError`."""
    config.take(*("timezone", "include_self", *CREDENTIAL_OPTIONS, *TLS_OPTIONS, *ACTION_OPTIONS))
    endpoint = Endpoint.of(config, port=DEFAULT_PORTS["pgbouncer"])
    if endpoint.path not in ("", CONSOLE):
        raise SourceConfigError(
            f"source {config.name}: the console is database {CONSOLE!r}; name that one or none"
        )
    return PgBouncerSource(
        endpoint,
        zone=zone(config),
        include_self=flag(config, "include_self"),
        max_sessions=config.max_sessions,
        acting=endpoint.for_actions(config),
    )
