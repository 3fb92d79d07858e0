"""Documents of sessions, written row by row, with included resources and page links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.select import SelectedRows
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi import collections, paging
from sessiongate.gateway.jsonapi.collections import with_fields
from sessiongate.gateway.jsonapi.document import CollectionWriter, top_meta
from sessiongate.gateway.jsonapi.paging import CursorPage
from sessiongate.gateway.jsonapi.transfer import TransferCutError
from sessiongate.gateway.representation.row import (
    WRITTEN,
    SessionRow,
    cut_rows,
    write_all,
    write_in_steps,
)
from sessiongate.gateway.representation.service import service_resource, services_of
from sessiongate.gateway.representation.session import service_names
from sessiongate.gateway.upstream.views import Batch
from sessiongate.runtime.turns import Steps, finished
from sessiongate.v1.errors import Reason

# Resources that may be included with sessions: their services, and sessions on further tiers.
INCLUDES = (
    "services",
    "upstream",
    "downstream",
    "upstream.services",
    "downstream.services",
    "upstream.upstream",
    "downstream.downstream",
)

_SAMPLE = 10  # rows
_USUAL_BYTES = 600  # of a row, if there is none to judge by
_PRETTY = 2  # times the bytes of a compact document
# Rows written before others get a turn: some milliseconds of work.
_QUICK_ROWS, _SLOW_ROWS = 2000, 50
_PART_BYTES = 1024 * 1024  # encoded, of the rows in a part, without its last row
_LOOKED_UP = 20  # sessions looked up on the next tier before others get a turn


class SessionsDocument:
    """The document of a collection of sessions, written row by row."""

    def __init__(self, request: ApiRequest, rows: SelectedRows, url: str) -> None:
        query = request.query
        self._request = request
        self._query = query
        self._rows = rows
        self._url = url
        self._writer = CollectionWriter(pretty=query.pretty)
        self._by_cursor = isinstance(query.page, CursorPage)
        # Whether rows are copied as they were rendered, without a resource object for each.
        self._is_quick = not (
            query.pretty
            or query.switches
            or query.include
            or self._by_cursor
            or "sessions" in query.fields
        )
        self._gaps = Gaps()
        self._referred = Referred()  # if something is to be included

    @property
    def size(self) -> int:
        """How many bytes long the document will be, estimated from its first rows."""
        first = self._rows.first
        sample = first.sessions[:_SAMPLE]
        usual = len(write_all(sample, "", 0.0)) // len(sample) if sample else _USUAL_BYTES
        count = len(first.sessions) if self._rows.rest is None else first.total
        return usual * count * (_PRETTY if self._query.pretty else 1)

    @property
    def part_size(self) -> int:
        """How many bytes of the document are in memory at a time, estimated likewise."""
        total = max(1, self._rows.first.total)
        return min(self.size * min(_QUICK_ROWS, total) // total, _PRETTY * WRITTEN * _PART_BYTES)

    async def parts(self) -> AsyncGenerator[bytes]:
        """Yield the document in one part or more.

        Raises `TransferCutError` if a part is unavailable.
        """
        query, position = self._query, self._rows.position
        part = self._writer.opening({"links": collections.links(query, self._url, position)})
        async for rows in self._slices():
            part += await self._written(rows)
            yield part
            part = b""
        members: dict[str, Any] = {}
        if query.include:
            members["included"] = await included_with(self._request, self._referred)
        meta = collections.meta(query, position) | self._gaps.meta()
        yield self._writer.closing(members | top_meta(meta))

    async def _slices(self) -> AsyncGenerator[Sequence[SessionRow]]:
        """Yield all rows, some at a time, with turns for others in between."""
        most = _QUICK_ROWS if self._is_quick else _SLOW_ROWS
        is_first = True
        async for batch in self._batches():
            self._gaps = self._gaps.union(batch.version.gaps)
            for rows in cut_rows(batch.sessions, most, _PART_BYTES):
                if not is_first:
                    await asyncio.sleep(0)
                is_first = False
                yield rows

    async def _batches(self) -> AsyncGenerator[Batch]:
        yield self._rows.first
        if self._rows.rest is None:
            return
        async with aclosing(self._rows.rest) as rest:
            try:
                async for batch in rest:
                    yield batch
            except CallError as error:
                detail = f"the core failed in the middle of a list: {error}"
                raise TransferCutError(detail) from None

    async def _written(self, rows: Sequence[SessionRow]) -> bytes:
        if self._is_quick:
            context = self._request.context
            steps = write_in_steps(rows, context.base, context.now)
            return self._writer.written(await work(steps))
        if self._query.include:
            await work(self._referred.add(rows))
        resources = await rendered_resources(self._request, rows)
        if self._by_cursor:
            for resource in resources:
                resource["meta"] = paging.item_meta(resource["id"])
        return await work(self._items(resources))

    def _items(self, resources: Iterable[dict[str, Any]]) -> Steps[bytes]:
        parts = []
        for resource in resources:
            parts.append(self._writer.items((resource,)))
            yield
        return b"".join(parts)


async def rendered_resources(
    request: ApiRequest, rows: Iterable[SessionRow]
) -> list[dict[str, Any]]:
    """Render sessions as the resource objects that the query asks for."""
    context = request.context

    def render() -> Steps[list[dict[str, Any]]]:
        resources = []
        for row in rows:
            resources.append(with_fields(request.query, row.resource(context.base, context.now)))
            yield
        return resources

    resources = await work(render())
    if request.naming is not None:
        remotes = [
            found["attributes"] for found in resources if "remote" in found.get("attributes", ())
        ]
        names = await request.naming.of(attributes["remote"] for attributes in remotes)
        for attributes in remotes:
            attributes["remote"] = names.get(attributes["remote"], attributes["remote"])
    return resources


class Referred:
    """The resources that sessions refer to, with all that is needed to include them."""

    def __init__(self) -> None:
        self.ids: set[int] = set()  # of the sessions themselves
        self.services: set[str] = set()
        # Ids on the next tier, each once, in order.
        self.ahead: dict[str, dict[int, None]] = {"upstream": {}, "downstream": {}}

    def add(self, rows: Iterable[SessionRow]) -> Steps[None]:
        """Add what more sessions refer to."""
        for row in rows:
            session = row.session
            self.ids.add(row.id)
            self.services.update(service_names(session))
            self.ahead["upstream"].update(dict.fromkeys(session.upstream_ids))
            self.ahead["downstream"].update(dict.fromkeys(session.downstream_ids))
            yield

    async def next_tier(
        self, request: ApiRequest, name: str, found: dict[int, SessionRow]
    ) -> Referred:
        """Return what the sessions one tier on refer to, except those that have just gone.

        Add these sessions to ``found``.
        """
        tier = Referred()
        for number, ident in enumerate(self.ahead[name]):
            if number % _LOOKED_UP == 0:
                await asyncio.sleep(0)  # give others a turn
            if ident not in found:
                try:
                    found[ident], _ = await request.view.get(ident)
                except CallError as error:
                    if error.reason != Reason.SESSION_NOT_FOUND:
                        raise
                    continue
            finished(tier.add((found[ident],)))
        return tier


async def included_with(request: ApiRequest, primary: Referred) -> list[dict[str, Any]]:
    """Return the resource objects to include with sessions, each once."""
    found: dict[int, SessionRow] = {}
    services: set[str] = set()
    for path in request.query.include:
        tier = primary
        for name in path.split("."):
            if name == "services":
                services |= tier.services
                break
            tier = await tier.next_tier(request, name, found)
    resources = await rendered_resources(
        request, [row for ident, row in sorted(found.items()) if ident not in primary.ids]
    )
    if services:
        known, _ = await services_of(request.view, frozenset(services))
        resources += [
            with_fields(request.query, service_resource(service, request.context.base))
            for service in known.values()
        ]
    return resources
