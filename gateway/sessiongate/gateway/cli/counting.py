"""How many sessions have the same values, in the forms in which sessions are printed."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeAlias

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.outputs import csv_cell, print_document
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS
from sessiongate.gateway.cli.tables import print_gaps, print_rows
from sessiongate.gateway.cli.texts import output_width, plain, unobeyed
from sessiongate.gateway.jsonapi.document import dump, top_meta
from sessiongate.gateway.representation.count import (
    COUNTED_BY,
    count_resource,
    counts_url,
    values_of,
)
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.session_service_pb2 import (
    CountSessionsRequest,
    CountSessionsResponse,
    SessionGroup,
)

_EACH = 10_000  # groups of a page: the core allows no more
_LEAST = 8  # cells of a terminal that a column is not cut below
_FIELDS = {"activity": "activity.state"}  # those that have another name

_Pages: TypeAlias = AsyncIterator[CountSessionsResponse]


async def print_counts(
    client: CoreClient,
    choice: SessionChoice,
    by: Sequence[str],
    limit: int | None,
    base: str,
    form: str,
) -> None:
    """Print each group of sessions that have the same values, the largest first."""
    fields = [COUNTED_BY[name] for name in by]
    pages = _pages(client, CountSessionsRequest(filter=choice.filter(), by=fields), limit)
    match form:
        case "json" | "yaml":
            await _print_document(pages, by, base, form)
        case "jsonl":
            await _print_lines(pages, by)
        case "csv":
            await _print_csv(pages, by)
        case _:
            await _print_table(pages, by, output_width() if form == "table" else None)


async def _print_document(pages: _Pages, by: Sequence[str], base: str, form: str) -> None:
    resources, gaps = [], Gaps()
    async for page in pages:
        resources += [_resource(by, group) for group in page.groups]
        gaps = gaps.union(Gaps.of_response(page))
    link = f"{counts_url(base)}?by={'%2C'.join(by)}"
    print_document({"links": {"self": link}, "data": resources, **top_meta(gaps.meta())}, form)


async def _print_lines(pages: _Pages, by: Sequence[str]) -> None:
    gaps = Gaps()
    async for page in pages:
        for group in page.groups:
            print(unobeyed(dump(_resource(by, group), pretty=False).decode()))
        gaps = gaps.union(Gaps.of_response(page))
    print_gaps(gaps)


async def _print_csv(pages: _Pages, by: Sequence[str]) -> None:
    writer, gaps = csv.writer(sys.stdout, lineterminator="\n"), Gaps()
    head: Sequence[str] | None = (*by, "count")
    async for page in pages:
        if head:
            writer.writerow(head)
            head = None
        writer.writerows([*map(csv_cell, _cells(by, group))] for group in page.groups)
        sys.stdout.flush()
        gaps = gaps.union(Gaps.of_response(page))
    print_gaps(gaps)


async def _print_table(pages: _Pages, by: Sequence[str], room: int | None) -> None:
    heads = [SESSION_FIELDS[_FIELDS.get(name, name)].title for name in by]
    least = [_LEAST] * (len(by) + 1)
    columns = Columns(*heads, "Sessions", right=("Sessions",), room=room, least=least)
    gaps, shown = Gaps(), 0
    async for page in pages:
        rows = [[plain(str(cell)[:room]) for cell in _cells(by, group)] for group in page.groups]
        if rows:
            print_rows(columns, rows)
        shown += len(rows)
        gaps = gaps.union(Gaps.of_response(page))
    if not shown:
        print("no sessions", file=sys.stderr)
    elif shown < page.total_groups:
        told = f"{shown} of {page.total_groups} groups; {page.total_size} sessions in all"
        print(told, file=sys.stderr)
    print_gaps(gaps)


def _resource(by: Sequence[str], group: SessionGroup) -> Mapping[str, Any]:
    """Return REST's resource object of a group; without values that this version does not know."""
    return count_resource(by, values_of(by, group) or (None,) * len(by), group.count)


def _cells(by: Sequence[str], group: SessionGroup) -> Sequence[str | int]:
    """Return a group's values, "" if it has none, and its size."""
    values = _resource(by, group)["attributes"].values()
    return ["" if value is None else value for value in values]


async def _pages(
    client: CoreClient, request: CountSessionsRequest, limit: int | None
) -> AsyncIterator[CountSessionsResponse]:
    """Yield pages until they hold ``limit`` groups, if there is a limit; read no more."""
    left = limit
    while True:
        request.page_size = _EACH if left is None else min(left, _EACH)
        page = await client.count_sessions(request)
        yield page
        if left is not None:
            left -= len(page.groups)
        if left == 0 or not page.next_page_token:
            return
        request.page_token = page.next_page_token
