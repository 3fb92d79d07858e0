"""Prints how many sessions have the same values, in the forms in which sessions are printed."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.outputs import csv_cell, print_document
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS
from sessiongate.gateway.cli.tables import gap_lines, print_notes, print_rows
from sessiongate.gateway.cli.texts import output_width, plain, unobeyed
from sessiongate.gateway.jsonapi.document import dump, top_meta
from sessiongate.gateway.representation.count import (
    COUNTED_BY,
    count_resource,
    counts_url,
    values_of,
)
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.value_counts import CountedValues
from sessiongate.v1.session_service_pb2 import CountSessionsRequest, CountSessionsResponse

_EACH = 10_000  # groups of a page: the core allows no more
_LEAST = 8  # cells of a terminal that a column is not cut below
_FIELDS = {"activity": "activity.state"}  # those that have another name


class CountedPage(NamedTuple):
    """Some groups, the largest first, and how many there are in all."""

    groups: Sequence[tuple[CountedValues, int]]  # the values of each, and its size
    total_groups: int
    total_size: int  # sessions


class Unknown(NamedTuple):
    """The unknown part of a count: as ``meta`` of a document, and as notes for people."""

    meta: Mapping[str, Any]
    notes: Iterable[str]


Pages: TypeAlias = AsyncIterator[CountedPage]


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
    gaps = Gaps()

    async def pages() -> Pages:
        nonlocal gaps
        request = CountSessionsRequest(filter=choice.filter(), by=fields)
        async for page in _pages(client, request, limit):
            gaps = gaps.union(Gaps.of_response(page))
            yield _counted(by, page)

    link = f"{counts_url(base)}?by={'%2C'.join(by)}"
    links = {"links": {"self": link}}
    await print_groups(pages(), by, form, links, lambda: Unknown(gaps.meta(), gap_lines(gaps)))


async def print_groups(
    pages: Pages,
    by: Sequence[str],
    form: str,
    links: Mapping[str, Any],
    unknown: Callable[[], Unknown],
) -> None:
    """Print groups; ``unknown`` is called once they have all been read."""
    match form:
        case "json" | "yaml":
            resources = [
                count_resource(by, *group) async for page in pages for group in page.groups
            ]
            print_document({**links, "data": resources, **top_meta(unknown().meta)}, form)
            return
        case "jsonl":
            async for page in pages:
                for group in page.groups:
                    resource = count_resource(by, *group)
                    print(unobeyed(dump(resource, pretty=False).decode()))
        case "csv":
            await _print_csv(pages, by)
        case _:
            await _print_table(pages, by, output_width() if form == "table" else None)
    print_notes(unknown().notes)


async def _print_csv(pages: Pages, by: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    head: Sequence[str] | None = (*by, "count")
    async for page in pages:
        if head:
            writer.writerow(head)
            head = None
        writer.writerows([*map(csv_cell, _cells(by, *group))] for group in page.groups)
        sys.stdout.flush()


async def _print_table(pages: Pages, by: Sequence[str], room: int | None) -> None:
    heads = [SESSION_FIELDS[_FIELDS.get(name, name)].title for name in by]
    least = [_LEAST] * (len(by) + 1)
    columns = Columns(*heads, "Sessions", right=("Sessions",), room=room, least=least)
    shown = 0
    async for page in pages:
        rows = [[plain(str(cell)[:room]) for cell in _cells(by, *group)] for group in page.groups]
        if rows:
            print_rows(columns, rows)
        shown += len(rows)
    if not shown:
        print("no sessions", file=sys.stderr)
    elif shown < page.total_groups:
        told = f"{shown} of {page.total_groups} groups; {page.total_size} sessions in all"
        print(told, file=sys.stderr)


def _counted(by: Sequence[str], page: CountSessionsResponse) -> CountedPage:
    """Return a page of the core's; without values that this version does not know."""
    groups = [(values_of(by, each) or (None,) * len(by), each.count) for each in page.groups]
    return CountedPage(groups, page.total_groups, page.total_size)


def _cells(by: Sequence[str], values: CountedValues, count: int) -> Sequence[str | int]:
    """Return a group's values, "" if it has none, and its size."""
    shown = count_resource(by, values, count)["attributes"].values()
    return ["" if value is None else value for value in shown]


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
