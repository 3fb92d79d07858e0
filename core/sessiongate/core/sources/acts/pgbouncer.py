"""Ends clients of PgBouncer, from version 1.24 on.

A client is named by its id, which its process gives once. Earlier versions have no such ids, and
name nothing by their pointers, which are used again.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sessiongate.core.sources.acting import ActError, ActFault, Strike, Target
from sessiongate.core.sources.base import SourceError
from sessiongate.core.sources.support.endpoint import Endpoint
from sessiongate.core.sources.support.libpq import (
    APPLICATION,
    LibpqClient,
    QueryRefusedError,
    QueryResult,
)
from sessiongate.core.sources.support.mysql_cells import integer
from sessiongate.core.sources.support.own_connections import OwnConnections
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.sources.support.pgbouncer_clients import client_key
from sessiongate.core.sources.support.pgbouncer_console import CONSOLE, rows, shares_port

_OLD = (
    "PgBouncer 1.24 or later is required: earlier versions cannot end a client without the risk of"
    " ending another one"
)
_OTHER_PROCESS = (
    "so_reuseport is on, and this connection has reached another process; try again, or add a"
    " source for each process"
)
_NOT_FOUND = "client not found"
_GONE = "the session has ended"


@asynccontextmanager
async def aim(
    endpoint: Endpoint, own: OwnConnections, most: int, target: Target
) -> AsyncIterator[Strike]:
    """Aim at a client: see `ActingSource`. It is looked for among the first ``most`` ones.

    The console's connection is one of the source's ``own``. PgBouncer gives it no number that it
    would list, and address translation may hide the address: it is listed by its application.
    """
    application = f"{APPLICATION}-{secrets.token_hex(8)}"
    console = LibpqClient(
        endpoint, CONSOLE, "SHOW CONFIG", needs_setup=False, most=most, application=application
    )
    with own.opening() as connection:
        connection.know((CONSOLE.encode(), application.encode()))
        try:
            (answer,) = await console.query("SHOW CLIENTS")
            if "id" not in answer.columns:
                raise ActError(ActFault.UNSUPPORTED, _OLD)
            ident = await _id_of(answer, target.item.key)
            if ident is None and shares_port(console, endpoint):
                raise SourceError(f"{endpoint}: {_OTHER_PROCESS}")
            if ident is None:
                raise ActError(ActFault.GONE, _GONE)
            yield partial(_strike, console, ident)
        finally:
            await console.close()


async def _id_of(answer: QueryResult, key: str) -> int | None:
    """Return the id of the client with a session's key; None if there is none."""
    pace, column = Pace(), list(answer.columns).index("id")
    for client, cells in zip(await rows(answer), answer.rows, strict=True):
        if client_key(client) == key:
            return integer(cells[column])
        if pace.is_due:
            await pace.rest()
    return None


async def _strike(console: LibpqClient, ident: int) -> None:
    # Over the same connection: another process that shares the port gives the same ids.
    try:
        await console.query(f"KILL_CLIENT {ident}", once=True)
    except QueryRefusedError as error:
        if _NOT_FOUND in str(error):
            raise ActError(ActFault.GONE, _GONE) from None
        hint = "; add the user that acts to admin_users" if "admin" in str(error) else ""
        raise ActError(ActFault.REFUSED, f"{error}{hint}") from None
