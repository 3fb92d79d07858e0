"""Answers questions about the past of a ledger in PostgreSQL, on connections of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from sessiongate.core.ledger.base import Current, PageSize, PastSessions
from sessiongate.core.ledger.coverage import Coverage
from sessiongate.core.ledger.history import find_one
from sessiongate.core.ledger.past import past_session
from sessiongate.core.ledger.past_reads import read_counts, read_page
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector
from sessiongate.core.ledger.policy import HistoryPolicy
from sessiongate.core.ledger.postgresql.coverage_rows import coverage_of
from sessiongate.core.ledger.postgresql.place import LedgerPlace
from sessiongate.core.ledger.postgresql.tables import PostgresqlTables
from sessiongate.core.ledger.reader import Reader
from sessiongate.v1.history_service_pb2 import PastSession


class PostgresqlPast:
    """Reads the past of every shard; calls raise `LedgerError`."""

    def __init__(self, place: LedgerPlace, name: str, policy: HistoryPolicy) -> None:
        """Connect when first asked; the server shows ``name`` as the application."""
        self._policy = policy
        self._reader = Reader(partial(PostgresqlTables, place, f"{name} history"[:63]))

    async def page(
        self,
        selector: PastSelector,
        after: PastPlace | None,
        most: PageSize,
        time: tuple[int, int],
        current: Current,
    ) -> PastSessions:
        """Return the sessions that follow a place, and what is known of a ``time``."""
        return await self._reader.read(
            lambda tables: PastSessions(
                *read_page(tables, selector, after, most, current),
                coverage_of(tables.connection, self._policy, *time),
            )
        )

    async def count(
        self,
        selector: PastSelector,
        moments: Moments,
        column: str | None,
        time: tuple[int, int],
        current: Current,
        counted: Callable[[Counted], None],
    ) -> Coverage:
        """Count the sessions at some moments by a column; return what is known of a ``time``."""

        def answer(tables: PostgresqlTables) -> Coverage:
            read_counts(tables, selector, moments, column, current, counted)
            return coverage_of(tables.connection, self._policy, *time)

        return await self._reader.read(answer)

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id, ended or not."""
        row = await self._reader.read(lambda tables: find_one(tables, ident))
        return None if row is None else past_session(row)

    async def close(self) -> None:
        """Interrupt what is being read, and close all connections."""
        await asyncio.to_thread(self._reader.close)
