"""The handler of counts: by the core, or of the rows that pass filters which the core lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import bytes_response, not_modified
from sessiongate.gateway.api.select import Selection
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi import collections
from sessiongate.gateway.jsonapi.collections import PagePosition
from sessiongate.gateway.jsonapi.document import CollectionWriter, top_meta
from sessiongate.gateway.jsonapi.paging import NumberPage
from sessiongate.gateway.representation.count import (
    COUNTED_BY,
    add_rows,
    count_resource,
    counts_url,
    values_of,
)
from sessiongate.gateway.upstream.client import CoreClient, OneCore
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector
from sessiongate.gateway.upstream.version import NO_VERSION, Version, version_of
from sessiongate.runtime.turns import Steps, later
from sessiongate.runtime.value_counts import CountedValues, ValueCounts
from sessiongate.v1.session_service_pb2 import CountSessionsRequest, SessionGroup

_FIRST = NumberPage(1000, 0)  # of a request without a page
_WRITTEN = 50  # resources between two rests


@dataclass(frozen=True, slots=True)
class _Counts:
    """The counts on a page, the largest first."""

    counts: Sequence[tuple[CountedValues, int]]
    total: int  # on all pages
    version: Version


async def list_counts(request: ApiRequest) -> Response:
    """Answer ``/v1/counts``."""
    page = request.query.page
    page = page if isinstance(page, NumberPage) else _FIRST
    by, selection = request.query.by, Selection(request, EVERYTHING)
    found = None
    if selection.exact is not None:
        found = await _by_core(request.state.core, selection.exact, by, page)
    if found is None:
        found = await _by_rows(selection, by, page)
    version = found.version if request.preferences.timeless else None
    if version is not None and (response := not_modified(request, version)):
        return response
    query, position = replace(request.query, page=page), PagePosition(found.total)
    writer = CollectionWriter(pretty=query.pretty)
    url = counts_url(request.context.base)
    meta = collections.meta(query, position) | found.version.gaps.meta()
    parts = (
        writer.opening({"links": collections.links(query, url, position)}),
        await work(_written(writer, by, found.counts)),
        writer.closing(top_meta(meta)),
    )
    return bytes_response(request, b"".join(parts), version)


async def _by_core(
    core: CoreClient, selector: Selector, by: Sequence[str], page: NumberPage
) -> _Counts | None:
    """Return a page of what the core counts; None if that has values unknown to this version."""
    request = CountSessionsRequest(filter=selector.filter(), by=[COUNTED_BY[one] for one in by])
    request.skip = page.offset
    found: list[tuple[CountedValues, int]] = []
    version, one = NO_VERSION, OneCore(core)
    while True:
        request.page_size = page.size - len(found)
        response = await one.answer(core.count_sessions, request)
        version = version.and_older(version_of(response))
        counts = await work(_read(by, response.groups))
        if counts is None:
            return None
        found += counts
        if len(found) >= page.size or not response.next_page_token:
            return _Counts(found, response.total_groups, version)
        request.page_token, request.skip = response.next_page_token, 0


async def _by_rows(selection: Selection, by: Sequence[str], page: NumberPage) -> _Counts:
    """Return a page of the counts of all rows that are selected."""
    counts, version = ValueCounts(), NO_VERSION
    try:
        async with aclosing(selection.scan()) as parts:
            async for rows in parts:
                version = version.and_older(rows.version)
                await work(add_rows(counts, by, rows.sessions))
        total = len(counts)
        found = await work(counts.largest_first(page.offset, page.offset + page.size))
    finally:  # also for a client that has left
        later(counts.let_go())
    return _Counts(found, total, version)


def _read(
    by: Sequence[str], groups: Sequence[SessionGroup]
) -> Steps[list[tuple[CountedValues, int]] | None]:
    """Return the core's counts; None if they have values unknown to this version."""
    counts = []
    for number, group in enumerate(groups, 1):
        values = values_of(by, group)
        if values is None:
            return None
        counts.append((values, group.count))
        if number % _WRITTEN == 0:
            yield
    return counts


def _written(
    writer: CollectionWriter, by: Sequence[str], counts: Iterable[tuple[CountedValues, int]]
) -> Steps[bytes]:
    parts = []
    for number, (values, count) in enumerate(counts, 1):
        parts.append(writer.items((count_resource(by, values, count),)))
        if number % _WRITTEN == 0:
            yield
    return b"".join(parts)
