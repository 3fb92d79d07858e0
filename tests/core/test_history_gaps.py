"""Gaps, if there are very many: no unknown time is reported as known."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.core.history.history import MAX_GAPS, History
from sessiongate.core.history.query import PastQuery
from sessiongate.core.ledger.coverage import Gap, Interval
from sessiongate.core.ledger.sqlite import SqliteLedger
from sessiongate.core.table.table import SessionTable
from sessiongate.v1.history_service_pb2 import GapReason, ListPastSessionsRequest

SECOND = 10**9
START = 1_700_000_000 * SECOND
TIMES = 2 * MAX_GAPS  # that the first source was observed for a second, every ten


def gaps_of(intervals: list[Interval], end: int) -> list[Gap]:
    """Return the gaps of all sources from the start to an end."""

    async def ask() -> list[Gap]:
        now = START
        ledger = await SqliteLedger.open("sqlite://", now=lambda: now)
        try:
            now = end
            await ledger.note(intervals)
            table = SessionTable(["a", "b"], 1, lambda: Timestamp(seconds=end // SECOND))
            request = ListPastSessionsRequest()
            request.filter.start_time.FromNanoseconds(START)
            request.filter.end_time.FromNanoseconds(end)
            history = History(ledger, table, lambda _: [], lambda: end)
            return (await history.page(PastQuery.parse(request, end))).gaps
        finally:
            await ledger.close()

    return asyncio.run(ask())


def test_many_gaps_are_joined_and_none_is_left_out() -> None:
    at = [START + 10 * number * SECOND for number in range(TIMES)]
    end = at[-1] + 100 * SECOND
    long = Interval("a", at[5], at[5] + 9 * SECOND)
    often = [Interval("a", time, time + SECOND) for time in at if time != at[5]]
    once = Interval("b", START, end - SECOND)
    found = gaps_of([*often, long, once], end)
    assert len(found) <= MAX_GAPS
    assert [gap for gap in found if gap.source == "b"] == [
        Gap("b", end - SECOND, end, GapReason.GAP_REASON_UNREACHABLE)
    ]
    mine = [gap for gap in found if gap.source == "a"]
    assert all(one.end < other.start for one, other in pairwise(mine))
    assert {gap.reason for gap in mine} == {GapReason.GAP_REASON_UNREACHABLE}
    for time in at:  # each gap that there is
        unknown = time + (9 if time == at[5] else 1) * SECOND + SECOND // 2
        assert any(gap.start <= unknown <= gap.end for gap in mine)
    known = long.start + 5 * SECOND
    assert not any(gap.start <= known <= gap.end for gap in mine), "the longest time that is known"
