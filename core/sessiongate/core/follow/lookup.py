"""Says what has become of a session that a front does not show: a core may know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sessiongate.core.errors import (
    CoreError,
    LedgerUnavailableError,
    SessionNotFoundError,
    SourceUnreachableError,
)
from sessiongate.core.ledger.lock import LedgerError
from sessiongate.core.table.lookup import missing
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.history_service_pb2 import PastSession

# Seconds that a lookup may take: clients of one address ask three times within five seconds, and
# are to get the answer in that time.
_TIMEOUT = 1.0
_AT_ONCE = 64  # lookups; more are refused, so that none waits long


class Lookup:
    """Looks sessions up in the ledger, by id."""

    def __init__(
        self, table: SessionTable, one: Callable[[int], Awaitable[PastSession | None]]
    ) -> None:
        """``one`` returns a session, ended or not, as the ledger has it."""
        self._table = table
        self._one = one
        self._under_way = 0

    async def missing(self, ident: int) -> CoreError:
        """Return the error for an id that the table does not have.

        A session is not found only if the ledger does not have it as an open one.
        """
        error = missing(self._table, ident)
        if not isinstance(error, SessionNotFoundError):
            return error
        try:
            past = await self._looked_up(ident)
        except (LedgerError, TimeoutError):
            text = f"whether there is a session {ident} is not known: the ledger cannot be read"
            return LedgerUnavailableError(text, id=str(ident))
        if past is None or past.HasField("end_time"):
            return error
        source = past.session.source
        text = f"session {ident} of the source {source!r} is open, and its core is not heard now"
        return SourceUnreachableError(text, source=source, id=str(ident))

    async def _looked_up(self, ident: int) -> PastSession | None:
        if self._under_way >= _AT_ONCE:
            raise TimeoutError
        self._under_way += 1
        try:
            async with asyncio.timeout(_TIMEOUT):
                return await self._one(ident)
        finally:
            self._under_way -= 1
