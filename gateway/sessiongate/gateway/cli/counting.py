"""How many sessions have the same values, as people and spreadsheets read it."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Sequence

from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.cli.choice import SessionChoice
from sessiongate.gateway.cli.columns import Columns
from sessiongate.gateway.cli.outputs import csv_cell
from sessiongate.gateway.cli.session_fields import SESSION_FIELDS
from sessiongate.gateway.cli.tables import print_gaps, print_rows
from sessiongate.gateway.cli.texts import output_width, plain
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.v1.activities import ACTIVITY_WORDS
from sessiongate.v1.session_service_pb2 import (
    CountBy,
    CountSessionsRequest,
    CountSessionsResponse,
    GroupValue,
)
from sessiongate.v1.states import words_of

_EACH = 10_000  # groups of a page: the core allows no more
_LEAST = 8  # cells of a terminal that a column is not cut below


async def print_counts(
    client: CoreClient, choice: SessionChoice, by: Sequence[str], limit: int | None, form: str
) -> None:
    """Print a line for each group of sessions that have the same values, the largest first."""
    fields: list[CountBy | str] = [f"COUNT_BY_{name.upper()}" for name in by]
    pages = _pages(client, CountSessionsRequest(filter=choice.filter(), by=fields), limit)
    if form == "csv":
        await _print_csv(pages, by)
    else:
        await _print_table(pages, by, output_width() if form == "table" else None)


async def _print_csv(pages: AsyncIterator[CountSessionsResponse], by: Sequence[str]) -> None:
    writer, gaps = csv.writer(sys.stdout, lineterminator="\n"), Gaps()
    head: Sequence[str] | None = (*by, "count")
    async for page in pages:
        if head:
            writer.writerow(head)
            head = None
        for group in page.groups:
            writer.writerow((*(csv_cell(_text(value)) for value in group.values), group.count))
        sys.stdout.flush()
        gaps = gaps.union(Gaps.of_response(page))
    print_gaps(gaps)


async def _print_table(
    pages: AsyncIterator[CountSessionsResponse], by: Sequence[str], room: int | None
) -> None:
    heads = [SESSION_FIELDS[_FIELDS.get(name, name)].title for name in by]
    least = [_LEAST] * (len(by) + 1)
    columns = Columns(*heads, "Sessions", right=("Sessions",), room=room, least=least)
    gaps, shown = Gaps(), 0
    async for page in pages:
        rows = [
            [*(plain(_text(value)) for value in group.values), str(group.count)]
            for group in page.groups
        ]
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


# The fields that have another name.
_FIELDS = {"activity": "activity.state"}


def _text(value: GroupValue) -> str:
    match value.WhichOneof("value"):
        case "text":
            return value.text
        case "state":
            return words_of(value.state)
        case "activity":
            return ACTIVITY_WORDS.get(value.activity, "")
    return ""
