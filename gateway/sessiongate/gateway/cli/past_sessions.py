"""Asks a core about the past, and prints its answers."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from google.protobuf.timestamp_pb2 import Timestamp

from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.counting import CountedPage, Pages, Unknown, print_groups
from sessiongate.gateway.cli.one_session import attribute_rows
from sessiongate.gateway.cli.outputs import TABLES, Listed, output_in, print_document
from sessiongate.gateway.cli.past_choice import PastOrder, TimeChoice
from sessiongate.gateway.cli.past_fields import PAST_FIELDS, past_field
from sessiongate.gateway.cli.past_gaps import past_gap_lines
from sessiongate.gateway.cli.questions import LOCAL_URL, Question
from sessiongate.gateway.cli.relations import PastSurroundings
from sessiongate.gateway.cli.reporting import fail
from sessiongate.gateway.cli.session_fields import sort_by
from sessiongate.gateway.cli.terminal_table import Layout
from sessiongate.gateway.cli.texts import (
    bold,
    duration_text,
    has_styles,
    local_time_text,
    output_width,
    zoned_text,
)
from sessiongate.gateway.moments import write_moment
from sessiongate.gateway.representation.past_session import (
    gap_meta,
    past_session_resource,
    past_session_url,
    past_sessions_url,
)
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.value_counts import CountedValues
from sessiongate.v1.history_service_pb2 import (
    EndReason,
    HistoryGap,
    ListPastSessionsRequest,
    PastSession,
)
from sessiongate.v1.session_pb2 import SESSION_STATE_STARTED, Session
from sessiongate.v1.states import STATE_WORDS
from sessiongate.v1.times import seconds_of

PAST_SESSIONS = Listed(
    Layout(
        PAST_FIELDS,
        source=lambda past: past.session.source,
        usual=(
            *("id", "user", "peer", "database", "application", "service", "source", "state"),
            *("connected", "ended", "end_reason"),
        ),
        more=(
            *("end_from", "ended_by", "longest_transaction", "native_id", "upstream"),
            *("downstream", "client.cipher"),
        ),
        first=(
            *("id", "user", "connected", "ended", "end_reason", "peer", "remote"),
            *("database", "application"),
        ),
        then=("service", "source", "state"),
        telling={
            "state": lambda past: past.session.state != SESSION_STATE_STARTED,
            "source": lambda past: past.session.source != past.session.service,
        },
    ),
    csv=(
        *("id", "user", "remote", "port", "database", "application", "service", "source"),
        *("state", "connected", "ended", "end_reason", "end_from", "ended_by"),
    ),
    url=past_sessions_url,
    resource=lambda past, base, now: past_session_resource(past, base),
)

_PAGE = 10_000  # sessions of a page: the core allows no more
_MOST_SORTED = 1_000_000  # sessions that are sorted here, and held in memory
_MEANINGS = {
    EndReason.END_REASON_CLOSED: "its source no longer listed it",
    EndReason.END_REASON_SOURCE_RESTARTED: "the server that it was connected to restarted",
    EndReason.END_REASON_REPLACED: "its source is read from another place",
    EndReason.END_REASON_NOT_SEEN: "it ended while its source was not observed",
    EndReason.END_REASON_TERMINATED: "somebody had Sessiongate end it",
}


def listing_past(
    choice: SessionChoice,
    when: TimeChoice,
    order: PastOrder,
    columns: Sequence[str] | None,
    public_url: str | None,
    form: str,
) -> Question:
    """List the sessions that were connected at a time."""
    request = ListPastSessionsRequest(filter=when.filter(choice.filter()))
    fields = [*map(past_field, columns or ())]

    listed = replace(PAST_SESSIONS, url=lambda base: f"{past_sessions_url(base)}?{_query(when)}")

    async def ask(client: CoreClient) -> None:
        output = output_in(form, listed, fields, public_url or LOCAL_URL)
        gaps: Sequence[HistoryGap] = ()
        count = 0
        async for sessions, unknown in _parts(client, request, order):
            output.write(sessions)
            count += len(sessions)
            gaps = unknown
        if form in TABLES:
            print(_summary(count, when, order.limit), file=sys.stderr)
        output.end(*_unknown(gaps))

    return ask


def counting_past(
    choice: SessionChoice, when: TimeChoice, by: Sequence[str], limit: int | None, form: str
) -> Question:
    """Count the sessions that were connected at a time."""
    request = ListPastSessionsRequest(filter=when.filter(choice.filter()))

    async def ask(client: CoreClient) -> None:
        counts = Counter[CountedValues]()
        gaps: Sequence[HistoryGap] = ()
        async for sessions, unknown in _pages(client, request, None):
            counts.update(_values(past.session, by) for past in sessions)
            gaps = unknown

        async def pages() -> Pages:
            yield CountedPage(counts.most_common(limit), len(counts), counts.total())

        await print_groups(pages(), by, form, {}, lambda: _unknown(gaps))
        if form in TABLES:
            print(_summary(counts.total(), when, None), file=sys.stderr)

    return ask


def _values(session: Session, by: Sequence[str]) -> CountedValues:
    """Return what a session is counted by; None if it has no such value, or an unknown one."""
    return tuple(
        value if name != "state" or value in STATE_WORDS else None
        for name in by
        for value in [getattr(session, name) or None]
    )


def _unknown(gaps: Sequence[HistoryGap]) -> Unknown:
    now = time.time() if sys.stderr.isatty() else None
    meta = {"gaps": [*map(gap_meta, gaps)]} if gaps else {}
    return Unknown(meta, past_gap_lines(gaps, now))


def showing_past(ident: int, public_url: str | None, form: str) -> Question:
    """Show one session, whether it has ended or not."""

    async def ask(client: CoreClient) -> None:
        past = await client.get_past_session(ident)
        if form != "table":
            base = public_url or LOCAL_URL
            links = {"self": past_session_url(base, ident)}
            print_document({"links": links, "data": past_session_resource(past, base)}, form)
            return
        now, room = time.time(), output_width()
        lines = [*Columns(room=room).lines(_rows(past, now))]
        if chain := await PastSurroundings(client, past.session, now, room).chain():
            title: Callable[[str], str] = bold if has_styles(sys.stdout) else str
            lines += ["", title("Chain"), *chain]
        print("\n".join(lines), flush=True)

    return ask


async def _parts(
    client: CoreClient, request: ListPastSessionsRequest, order: PastOrder
) -> AsyncIterator[tuple[Sequence[PastSession], Sequence[HistoryGap]]]:
    """Yield the sessions that match, in order, in one part or more, each with the gaps."""
    if order.in_core is not None:
        request.order_by = order.in_core
        async for part in _pages(client, request, order.limit):
            yield part
        return
    found: list[PastSession] = []
    gaps: Sequence[HistoryGap] = ()
    async for sessions, unknown in _pages(client, request, None):
        found += sessions
        gaps = unknown
        if len(found) > _MOST_SORTED:
            fail(
                f"more than {_MOST_SORTED:,} sessions match; name a shorter time or more flags that"
                " choose sessions, or sort by connected or ended, which the core does"
            )
    yield sort_by(found, order.sort or (), past_field)[: order.limit], gaps


async def _pages(
    client: CoreClient, request: ListPastSessionsRequest, limit: int | None
) -> AsyncIterator[tuple[Sequence[PastSession], Sequence[HistoryGap]]]:
    """Yield pages until they hold ``limit`` sessions, if there is a limit; read no more."""
    left = limit
    while True:
        request.page_size = _PAGE if left is None else min(left, _PAGE)
        page = await client.list_past_sessions(request)
        yield page.sessions, page.gaps
        if left is not None:
            left -= len(page.sessions)
        if left == 0 or not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _summary(count: int, when: TimeChoice, limit: int | None) -> str:
    """Return how many sessions were connected, and when: the times that were meant, in full."""
    first = "the first " if count == limit else ""
    who = f"{first}{count or 'no'} session{'s' if count != 1 else ''}"
    if when.at is not None:
        return f"{who}, connected at {zoned_text(when.at)}"
    end = "now" if when.until is None else zoned_text(when.until)
    return f"{who}, connected between {zoned_text(when.start)} and {end}"


def _query(when: TimeChoice) -> str:
    """Return the time in the words of a REST query."""
    times = {"at": when.at} if when.at is not None else {"from": when.start, "to": when.until}
    return urlencode({name: write_moment(time) for name, time in times.items() if time})


def _rows(past: PastSession, now: float) -> Iterator[tuple[str, str]]:
    """Yield the name and text of each attribute of a session, and how it ended."""
    session = past.session
    attributes: Mapping[str, Any] = past_session_resource(past, "")["attributes"]
    values = {"id": session.id, "source": session.source, "service": session.service, **attributes}
    values["source"] = session.source
    moments: dict[str, Timestamp] = {"connected": session.connect_time}
    end = now
    if past.HasField("end_time"):
        end = seconds_of(past.end_time)
        moments["ended"] = moments["end_to"] = past.end_time
        if past.HasField("last_seen_time"):
            moments["end_from"] = past.last_seen_time
        if meaning := _MEANINGS.get(past.end_reason):
            values["end_reason"] = f"{values['end_reason']}: {meaning}"
    else:
        values["ended"] = "not yet: it is still connected"
    values["lasted"] = duration_text(end - seconds_of(session.connect_time))
    if past.HasField("longest_transaction"):
        values["longest_transaction"] = duration_text(past.longest_transaction.seconds)
    return attribute_rows(values, moments, now, local_time_text)
