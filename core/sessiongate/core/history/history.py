"""Answers questions about the past: from the ledger, with what is known now of open sessions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from sessiongate.core.history.counts import PastCounts, PastCountsQuery, count_past
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.coverage import CoreRun, Coverage, Gap, Interval
from sessiongate.core.ledger.history import PastPlace, find, find_one, matches, place_after
from sessiongate.core.ledger.past import past_session, refresh
from sessiongate.core.ledger.sqlite import Ledger
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.session_pb2 import Session

MAX_GAPS = 1000
PAGE_BYTES = 2_500_000
_READ_AT_ONCE = 100  # sessions, which takes about a millisecond


@dataclass(frozen=True, slots=True)
class PastPage:
    """A page of past sessions; ``following`` is the place of the next, if there is one."""

    sessions: list[PastSession]
    following: PastPlace | None
    gaps: list[Gap]


class History:
    """What the ledger of a core knows of the past.

    ``observed`` returns when sources were observed, as far as the ledger may not have it yet,
    given the present time; times are in ns since the epoch.
    """

    def __init__(
        self,
        ledger: Ledger,
        table: SessionTable,
        observed: Callable[[int], Iterable[Interval]],
        now: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._table = table
        self._observed = observed
        self.now = now
        self._counting = asyncio.Semaphore(1)

    async def page(self, query: PastQuery) -> PastPage:
        """Return a page. Raises `LedgerError`."""
        observed, now = [*self._observed(self.now())], self.now()
        run = CoreRun(self._ledger.began, now, self._ledger.policy.least_duration or 0)
        sources = query.sources or tuple(each.name for each in self._table.sources())
        return await self._ledger.read(
            lambda connection: _page(connection, query, self._refresh, sources, observed, run)
        )

    async def counts(self, query: PastCountsQuery) -> tuple[PastCounts, list[Gap]]:
        """Return counts, and what is not known of their time. Raises `LedgerError`."""
        observed, now = [*self._observed(self.now())], self.now()
        run = CoreRun(self._ledger.began, now, self._ledger.policy.least_duration or 0)
        sources = query.past.sources or tuple(each.name for each in self._table.sources())
        # One at a time: the ledger's other reader is left to the lists.
        async with self._counting:
            return await self._ledger.read(
                lambda connection: (
                    count_past(connection, query, self._current),
                    _gaps(connection, query.past, sources, observed, run),
                )
            )

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id. Raises `LedgerError`."""
        row = await self._ledger.read(lambda connection: find_one(connection, ident))
        if row is None:
            return None
        past = past_session(row)
        self._refresh(past)
        return past

    def _refresh(self, past: PastSession) -> None:
        """Show a session that has not ended as it is now; any thread may call this."""
        if not past.HasField("end_time"):
            session = self._current(past.session.id)
            if session is not None:
                refresh(past, session)

    def _current(self, ident: int) -> Session | None:
        row = self._table.row(ident)
        return None if row is None else row.session


def _page(
    connection: sqlite3.Connection,
    query: PastQuery,
    refreshed: Callable[[PastSession], None],
    sources: Sequence[str],
    observed: list[Interval],
    run: CoreRun,
) -> PastPage:
    sessions: list[PastSession] = []
    following, size, pace = None, 0, Pace()
    rows = find(connection, query.wanted, query.after)
    last = None
    while following is None and (part := [*islice(rows, _READ_AT_ONCE)]):
        for row in part:
            if len(sessions) == query.page_size or size > PAGE_BYTES:
                assert last is not None  # noqa: S101 - a page has at least one session
                following = place_after(last, query.wanted)
                break
            past = past_session(row)
            if not past.HasField("end_time"):
                refreshed(past)
                if not matches(past.session, query.wanted):
                    continue
            sessions.append(past)
            size += past.ByteSize()
            last = row
        pace.sleep()
    return PastPage(sessions, following, _gaps(connection, query, sources, observed, run))


def _gaps(
    connection: sqlite3.Connection,
    query: PastQuery,
    sources: Sequence[str],
    observed: list[Interval],
    run: CoreRun,
) -> list[Gap]:
    start, end = query.asked
    known = Coverage.read(connection, start, end)
    first = dict(known.first)
    for interval in observed:
        first[interval.source] = min(interval.start, first.get(interval.source, interval.start))
    known = replace(
        known, intervals=[*known.intervals, *observed], runs=[*known.runs, run], first=first
    )
    named = sources if query.sources else {*sources, *first}
    return [*islice(known.gaps(named, start, end), MAX_GAPS)]
