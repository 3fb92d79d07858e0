"""A ledger in PostgreSQL as a front has it: it reads what the cores of all shards write."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.connection import LedgerAwayError, LedgerConnection
from sessiongate.core.ledger.postgresql.locks import ledger_identity
from sessiongate.core.ledger.postgresql.past import PostgresqlPast
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.schema import require_tables
from sessiongate.core.ledger.postgresql.starts import ReservedStart, reserve_start

log = logging.getLogger(__name__)

_WAIT = (0.5, 5.0)  # seconds between two attempts to reach it at the start


class ReadLedger(PostgresqlPast):
    """An open ledger, made by `open`, of which nothing is written but the number of this start."""

    def __init__(
        self,
        place: LedgerPlace,
        name: str,
        policy: HistoryPolicy,
        began: int,
        start: ReservedStart,
        identity: str,
    ) -> None:
        super().__init__(place, name, policy)
        self.policy = policy  # which past sessions the cores keep
        self.began = began  # when it was opened, in ns since the epoch
        self._start = start
        self.identity = identity  # which all cores of the ledger state

    @classmethod
    async def open(
        cls, url: str, *, policy: HistoryPolicy, now: Callable[[], int], core: str
    ) -> ReadLedger:
        """Open the ledger at a URL, in which others know this front as ``core``.

        A server that cannot be reached is waited for. Raises `LedgerError`.
        """
        place = LedgerPlace.parse(url)
        name = f"sessiongate front {core} {os.getpid()}"
        wait, most = _WAIT
        while True:
            try:
                start, identity = await asyncio.to_thread(_take_start, place, name)
            except LedgerAwayError as error:
                log.warning("%s; trying again in %.1f seconds", error, wait)
                await asyncio.sleep(wait)
                wait = min(2 * wait, most)
            else:
                return cls(place, name, policy, now(), start, identity)

    async def ceiling(self) -> int:
        """Return a number above every revision ever used."""
        return self._start.revision


def _take_start(place: LedgerPlace, name: str) -> tuple[ReservedStart, str]:
    """Take a number that no start of a core or a front has, or will have; name the ledger."""
    connection = LedgerConnection(place, name[:63])
    try:
        with connection.naming_errors():
            require_tables(connection)
            return reserve_start(connection), ledger_identity(connection)
    finally:
        connection.close()
