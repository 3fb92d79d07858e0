"""The handler of counts over time: how many sessions were connected at moments of the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from sessiongate.gateway.api.past_select import core_filter
from sessiongate.gateway.api.past_time import FROM, INTERVAL, TO, PastTime
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response
from sessiongate.gateway.api.select import pushed_down
from sessiongate.gateway.jsonapi.collections import self_link
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.paging import SIZE
from sessiongate.gateway.jsonapi.parameters import invalid
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.moments import write_moment
from sessiongate.gateway.representation.count import COUNTED_BY
from sessiongate.gateway.representation.past_count import (
    past_count_resources,
    past_counts_url,
    past_times,
)
from sessiongate.gateway.representation.past_session import gap_meta
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.gateway.upstream.selector import EVERYTHING
from sessiongate.runtime.suggestion import did_you_mean, quoted_name
from sessiongate.v1.history_service_pb2 import CountPastSessionsRequest

MOMENTS, BY = "moments", "by"
PAST_COUNTS_TEXTS = (*INTERVAL, MOMENTS, BY, SIZE)
PAST_COUNTED_BY = ("service", "source", "user", "application", "database")
MOST_MOMENTS, DEFAULT_MOMENTS = 500, 60
MOST_GROUPS, DEFAULT_GROUPS = 100, 10
_DIGITS = 9  # fewer than these are read
_DEFAULT_LENGTH = timedelta(hours=1)


async def count_past_sessions(request: ApiRequest) -> Response:
    """Answer ``/v1/history/counts``."""
    now = datetime.fromtimestamp(request.context.now, UTC)
    time = PastTime.read(request.query, request.context.now)
    end = min(time.end or now, now)
    start = time.start or end - _DEFAULT_LENGTH
    if start >= now:
        raise invalid(FROM, f"{FROM} must be in the past, got {write_moment(start)}")
    time = PastTime(start=start, end=end)
    by, wanted = _wanted(request.query)
    wanted.filter.MergeFrom(time.filter())
    core: CoreClient = request.state.core
    counts = await core.count_past_sessions(wanted)
    url = past_counts_url(request.context.base)
    document = {
        "links": {"self": self_link(_absolute(request.query, time), url)},
        "data": past_count_resources(counts, by),
        "meta": {"times": past_times(counts), "gaps": [gap_meta(gap) for gap in counts.gaps]},
    }
    return document_response(request, document, None)


def _absolute(query: QueryParameters, time: PastTime) -> QueryParameters:
    """Return a query that is about the same time whenever it is asked."""
    others = [pair for pair in query.parameters if pair[0] not in INTERVAL]
    interval = [(FROM, time.start), (TO, time.end)]
    moments = [(name, write_moment(moment)) for name, moment in interval if moment is not None]
    return replace(query, parameters=(*moments, *others))


def _number(
    query: QueryParameters, name: str, least: int, most: int, default: int, errors: list[Error]
) -> int:
    text = query.texts.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdecimal() and len(text) < _DIGITS:
        number = int(text)
        if least <= number <= most:
            return number
    detail = f"{name} must be an integer from {least} to {most}, got {quoted_name(text)}"
    errors += invalid(name, detail).errors
    return default


def _wanted(query: QueryParameters) -> tuple[str | None, CountPastSessionsRequest]:
    """Return what to count by, and the request but for its time. Raises `RequestError`."""
    errors: list[Error] = []
    wanted = CountPastSessionsRequest(
        moments=_number(query, MOMENTS, 2, MOST_MOMENTS, DEFAULT_MOMENTS, errors),
        max_groups=_number(query, SIZE, 1, MOST_GROUPS, DEFAULT_GROUPS, errors),
    )
    by = query.texts.get(BY)
    if by in PAST_COUNTED_BY:
        wanted.by = COUNTED_BY[by]
    elif by is not None:
        hint = did_you_mean(by, PAST_COUNTED_BY) or f"; allowed are {', '.join(PAST_COUNTED_BY)}"
        errors += invalid(BY, f"the past cannot be counted by {quoted_name(by)}{hint}").errors
    selector, left = pushed_down(query.filters, EVERYTHING)
    narrowed = core_filter(selector)
    if left or selector.remotes != {*narrowed.remotes}:
        detail = (
            "the past is counted by the core, which selects by service, user, state, database,"
            " application, source and address only: each equal to a string, or to one of several"
        )
        errors += invalid("filter", detail).errors
    if errors:
        raise RequestError(*errors)
    if narrowed.ByteSize():
        wanted.filter.sessions.CopyFrom(narrowed)
    return by, wanted
