"""Reads past sessions, and counts of them, from the tables of a ledger."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from sessiongate.core.ledger.base import Current, PageSize
from sessiongate.core.ledger.history import PastTables, find, place_after
from sessiongate.core.ledger.past import described, past_session, refresh
from sessiongate.core.ledger.past_counts import ended_counts, open_rows
from sessiongate.core.ledger.past_selector import Counted, Moments, PastPlace, PastSelector, matches
from sessiongate.core.sources.support.pacing import Pace
from sessiongate.v1.history_service_pb2 import PastSession

_READ_AT_ONCE = 100  # sessions, which takes about a millisecond
_COUNTED_AT_ONCE = 500  # which takes as long


def read_page(
    tables: PastTables,
    selector: PastSelector,
    after: PastPlace | None,
    most: PageSize,
    current: Current,
) -> tuple[list[PastSession], PastPlace | None]:
    """Return the sessions that follow a place, and the place of the next page."""
    sessions: list[PastSession] = []
    size, pace, last = 0, Pace(), None
    rows = find(tables, selector, after)
    while part := [*islice(rows, _READ_AT_ONCE)]:
        for row in part:
            if last is not None and (len(sessions) == most.sessions or size > most.size):
                return sessions, place_after(last, selector)
            past = past_session(row)
            if not past.HasField("end_time"):
                if (session := current(past.session.id)) is not None:
                    refresh(past, session)
                if not matches(past.session, selector):
                    continue
            sessions.append(past)
            size += past.ByteSize()
            last = row
        pace.sleep()
    return sessions, None


def read_counts(
    tables: PastTables,
    selector: PastSelector,
    moments: Moments,
    column: str | None,
    current: Current,
    counted: Callable[[Counted], None],
) -> None:
    """Count the sessions that were connected at some moments, by a column if there is one."""
    pace = Pace()
    for each in ended_counts(tables, selector, moments, column):
        counted(each)
        pace.sleep()
    narrows = bool(selector.names) or selector.remote is not None
    for number, row in enumerate(open_rows(tables, selector, moments.last), 1):
        ident, source, start, description = row
        if number % _COUNTED_AT_ONCE == 0:
            pace.sleep()
        session = current(ident) or described(description, ident, source, start)
        if narrows and not matches(session, selector):
            continue
        value = getattr(session, column) or None if column is not None else None
        counted(Counted(value, moments.first_from(start), moments.number, 1))
