"""Looks whether the ledger's name leads to several servers that accept writes.

After a failover that went wrong, the former primary goes on beside the one that was promoted. Each
has its own ledger and its own active cores, and who asks is shown one or the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psycopg

from sessiongate.core.ledger.postgresql.connection import ServerIdentity
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.resolution import addresses

log = logging.getLogger(__name__)

_LOOK_EVERY = 10.0  # seconds between two looks at all addresses
_TIMEOUT = 3.0  # seconds for each of them
_ASK = """
SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()),
    CASE WHEN pg_is_in_recovery() THEN 0
        ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
    pg_postmaster_start_time()
"""


class PrimaryWatch:
    """Keeps ``trouble``: which servers accept writes, if there are several; else empty."""

    def __init__(self, place: LedgerPlace) -> None:
        self.trouble = ""
        self._place = place

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        """Ask the server at each address of the ledger's host."""
        endpoint = self._place.endpoint
        if endpoint.is_unix:
            return
        try:
            found = await addresses(self, endpoint.host)
        except SourceError:
            return  # what was found before may still be so
        servers = await writable_servers(self._place, found) if len(found) > 1 else {}
        self._note(_described(servers))

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("%s", trouble)
        elif self.trouble and not trouble:
            log.warning("no more than one server of the ledger answers that it accepts writes")
        self.trouble = trouble


def _described(servers: Mapping[ServerIdentity, str]) -> str:
    """Return in words that several servers accept writes; empty if they do not."""
    if len(servers) < 2:
        return ""
    shown = " and ".join(
        f"{address} (system {server.system}, timeline {server.timeline})"
        for server, address in sorted(servers.items(), key=lambda each: each[1])
    )
    return (
        f"several servers of the ledger accept writes: {shown}; each has active cores and a history"
        " of its own: stop the one that you give up"
    )


async def writable_servers(place: LedgerPlace, at: Iterable[str]) -> dict[ServerIdentity, str]:
    """Return the servers that accept writes, each with the first address that it answers at."""
    found: dict[ServerIdentity, str] = {}
    for address in at:
        with suppress(psycopg.Error, SourceError, TimeoutError):
            parameters = place.parameters(address=address)
            async with asyncio.timeout(_TIMEOUT):
                server = await _identity(parameters)
            if server is not None:
                found.setdefault(server, address)
    return found


async def _identity(parameters: str) -> ServerIdentity | None:
    """Return which server answers; None for one that accepts no writes."""
    connection = await psycopg.AsyncConnection.connect(parameters, autocommit=True)
    try:
        row = await (await connection.execute(_ASK.encode())).fetchone()
    finally:
        await connection.close()
    return None if row is None or row[0] else ServerIdentity(*row[1:])
