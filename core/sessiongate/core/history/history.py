"""Answers questions about the past: from the ledger, with what is known now of open sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import groupby, pairwise
from operator import attrgetter

from sessiongate.core.history.counts import PastCounts, PastCountsQuery
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.base import PageSize, PastLedger
from sessiongate.core.ledger.coverage import CoreRun, Coverage, Gap, Interval
from sessiongate.core.ledger.past import refresh
from sessiongate.core.ledger.past_selector import PastPlace
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.history_service_pb2 import PastSession
from sessiongate.v1.session_pb2 import Session

MAX_GAPS = 1000
PAGE_BYTES = 2_500_000


@dataclass(frozen=True, slots=True)
class PastPage:
    """A page of past sessions; ``following`` is the place of the next, if there is one."""

    sessions: list[PastSession]
    following: PastPlace | None
    gaps: list[Gap]


class History:
    """The past sessions of a core's ledger.

    ``observed`` returns when sources were observed, as far as the ledger may not have it yet,
    given the present time; times are in ns since the epoch.
    """

    def __init__(
        self,
        ledger: PastLedger,
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
        gaps = self._gaps(query)
        most = PageSize(query.page_size, PAGE_BYTES)
        found = await self._ledger.page(
            query.selector, query.after, most, query.asked, self._current
        )
        return PastPage(found.sessions, found.following, await gaps(found.coverage))

    async def counts(self, query: PastCountsQuery) -> tuple[PastCounts, list[Gap]]:
        """Return counts, and what is not known of their time. Raises `LedgerError`."""
        gaps, past, counts = self._gaps(query.past), query.past, PastCounts(query.moments)
        # One at a time: the ledger's other reader is left to the lists.
        async with self._counting:
            coverage = await self._ledger.count(
                past.selector, query.moments, query.column, past.asked, self._current, counts.add
            )
        return counts, await gaps(coverage)

    async def one(self, ident: int) -> PastSession | None:
        """Return the session with an id. Raises `LedgerError`."""
        past = await self._ledger.one(ident)
        if past is None or past.HasField("end_time"):
            return past
        if (session := self._current(ident)) is not None:
            refresh(past, session)
        return past

    def _current(self, ident: int) -> Session | None:
        row = self._table.row(ident)
        return None if row is None else row.session

    def _gaps(self, query: PastQuery) -> Callable[[Coverage], Awaitable[list[Gap]]]:
        """Note what is observed now; return what finds the gaps in that and the coverage."""
        observed, now = [*self._observed(self.now())], self.now()
        run = CoreRun(min(self._ledger.began, now), now, self._ledger.policy.least_duration or 0)
        configured = {each.name for each in self._table.sources()}

        def found(coverage: Coverage) -> list[Gap]:
            known = coverage.continued(observed, run)
            if self._ledger.policy.age is None:  # no session that has ended was ever kept
                known = replace(known, horizon=now)
            return _at_most(MAX_GAPS, [*_gaps(known, query, configured)])

        return lambda coverage: asyncio.to_thread(found, coverage)


def _at_most(most: int, gaps: list[Gap]) -> list[Gap]:
    """Return at most ``most`` gaps; of more, those closest together become one.

    Each source has the same share, and at least one gap. So no unknown time is returned as known.
    """
    if len(gaps) <= most:
        return gaps
    parts = [[*part] for _, part in groupby(gaps, attrgetter("source"))]
    share = max(1, most // len(parts))
    return [gap for part in parts for gap in _joined(share, part)]


def _joined(most: int, gaps: list[Gap]) -> Iterator[Gap]:
    """Yield at most ``most`` gaps of one source, in order, each with the reason of its first."""
    places = range(1, len(gaps))
    apart = nlargest(most - 1, places, key=lambda place: gaps[place].start - gaps[place - 1].end)
    for first, stop in pairwise([0, *sorted(apart), len(gaps)]):
        yield gaps[first]._replace(end=gaps[stop - 1].end)


def _gaps(known: Coverage, query: PastQuery, configured: Set[str]) -> Iterator[Gap]:
    """Yield the gaps of sources that are named, or else of all.

    Of one that is not configured any longer, nothing is missing after its last observation.
    """
    start, end = query.asked
    for source in sorted({*query.sources} or {*configured, *known.observed}):
        until = end
        if not query.sources and source not in configured:
            until = min(end, known.observed[source].last)
        if start < until or start == until == end:
            yield from known.gaps([source], start, until)
