"""Documents of sessions, written row by row, with included resources and page links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.gaps import Gaps
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.select import Selection
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi import collections, paging
from sessiongate.gateway.jsonapi.collections import with_fields
from sessiongate.gateway.jsonapi.document import CollectionWriter, top_meta
from sessiongate.gateway.jsonapi.paging import CursorPage
from sessiongate.gateway.representation.row import SessionRow, write_in_steps
from sessiongate.gateway.representation.service import names_of, service_resource, services_of
from sessiongate.gateway.upstream.views import Batch, Selector
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session

# May be included with sessions: their services, and sessions on further tiers.
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
# Encoded bytes of these rows, without the last; written out, they take a few times as many.
_PART_BYTES, _WRITTEN = 1024 * 1024, 3
_LOOKED_UP = 20  # sessions looked up on the next tier before others get a turn


class TransferCutError(Exception):
    """The rest of a document is unavailable, but its beginning has been sent."""


async def write_sessions(ask: ApiRequest, selected: Selection, url: str) -> AsyncGenerator[bytes]:
    """Yield the document of a collection in one part or more.

    Raises `TransferCutError` if a part is unavailable.
    """
    writer = _Writer(ask)
    yield writer.opening({"links": collections.links(ask.query, url, selected.place)})
    async for rows in _slices(selected, _QUICK_ROWS if writer.quick else _SLOW_ROWS):
        yield await writer.rows(rows)
    members: dict[str, Any] = {}
    if ask.query.include:
        members["included"] = await included_with(ask, writer.seen)
    meta = collections.meta(ask.query, selected.place) | writer.gaps.meta()
    yield writer.closing(members | top_meta(meta))


async def _slices(selected: Selection, size: int) -> AsyncGenerator[Batch]:
    """Yield all rows, ``size`` at a time, with turns for others in between."""
    head, *more = _cut(selected.first, size)
    yield head
    for rows in more:
        await asyncio.sleep(0)
        yield rows
    if selected.rest is None:
        return
    async with aclosing(selected.rest) as rest:
        try:
            async for part in rest:
                for rows in _cut(part, size):
                    await asyncio.sleep(0)
                    yield rows
        except CallError as error:
            raise TransferCutError(f"the core failed in the middle of a list: {error}") from None


def _cut(rows: Batch, size: int) -> Iterator[Batch]:
    """Cut rows into one part, which may be empty, or more: of ``size``, or fewer if large."""
    sessions = rows.sessions
    start = 0
    while True:
        stop, room = start, _PART_BYTES
        while stop < len(sessions) and stop < start + size and room > 0:
            room -= sessions[stop].size
            stop += 1
        yield replace(rows, sessions=sessions[start:stop])
        start = stop
        if start >= len(sessions):
            return


def estimated_size(ask: ApiRequest, selected: Selection) -> int:
    """Estimate how many bytes long a document will be, judging by its first rows."""
    first = selected.first
    sample = first.sessions[:_SAMPLE]
    size = sum(len(row.write(b"", 0.0)) for row in sample)
    usual = size // len(sample) if sample else _USUAL_BYTES
    count = len(first.sessions) if selected.rest is None else first.total
    return usual * count * (_PRETTY if ask.query.pretty else 1)


def part_size(size: int, selected: Selection) -> int:
    """Estimate how many bytes of a document of ``size`` are in memory at a time."""
    total = max(1, selected.first.total)
    return min(size * min(_QUICK_ROWS, total) // total, _PRETTY * _WRITTEN * _PART_BYTES)


class _Writer:
    """Writes rows the quick way if it can: cut from what is rendered."""

    def __init__(self, ask: ApiRequest) -> None:
        self._ask = ask
        self._writer = CollectionWriter(pretty=ask.query.pretty)
        self._cursors = isinstance(ask.query.page, CursorPage)
        query = ask.query
        self.quick = not (
            query.pretty
            or query.switches
            or query.include
            or self._cursors
            or "sessions" in query.fields
        )
        self.gaps = Gaps()
        self.seen: list[Session] = []  # if something is to be included with them

    def opening(self, members: dict[str, Any]) -> bytes:
        return self._writer.opening(members)

    def closing(self, members: dict[str, Any]) -> bytes:
        return self._writer.closing(members)

    async def rows(self, rows: Batch) -> bytes:
        self.gaps = self.gaps.union(rows.version.gaps)
        moment = self._ask.moment
        if self.quick:
            return self._writer.written(
                await work(write_in_steps(rows.sessions, moment.base, moment.now))
            )
        if self._ask.query.include:
            self.seen += await work(_decoded(rows.sessions))
        resources = await rendered_resources(self._ask, rows.sessions)
        if self._cursors:
            for resource in resources:
                resource["meta"] = paging.item_meta(resource["id"])
        return await work(self._items(resources))

    def _items(self, resources: Iterable[dict[str, Any]]) -> Steps[bytes]:
        parts = []
        for resource in resources:
            parts.append(self._writer.items((resource,)))
            yield
        return b"".join(parts)


async def rendered_resources(ask: ApiRequest, rows: Iterable[SessionRow]) -> list[dict[str, Any]]:
    """Render sessions as the resource objects that the query asks for."""
    moment = ask.moment

    def made() -> Steps[list[dict[str, Any]]]:
        resources = []
        for row in rows:
            resources.append(with_fields(ask.query, row.resource(moment.base, moment.now)))
            yield
        return resources

    resources = await work(made())
    if ask.naming is not None:
        remotes = [
            found["attributes"] for found in resources if "remote" in found.get("attributes", ())
        ]
        names = await ask.naming.of(attributes["remote"] for attributes in remotes)
        for attributes in remotes:
            attributes["remote"] = names.get(attributes["remote"], attributes["remote"])
    return resources


def _decoded(rows: Iterable[SessionRow]) -> Steps[list[Session]]:
    sessions = []
    for row in rows:
        sessions.append(row.session)
        yield
    return sessions


async def included_with(ask: ApiRequest, sessions: Sequence[Session]) -> list[dict[str, Any]]:
    """Return the resource objects to include with sessions, each once."""
    primary = {session.id for session in sessions}
    found: dict[int, SessionRow] = {}
    services: set[str] = set()
    for path in ask.query.include:
        tier: Sequence[Session] = sessions
        for name in path.split("."):
            if name == "services":
                services |= names_of(tier)
                break
            tier = await _tier(ask, tier, name, found)
    resources = await rendered_resources(
        ask, [row for ident, row in sorted(found.items()) if ident not in primary]
    )
    if services:
        known, _ = await services_of(ask.view, Selector(services=frozenset(services)))
        resources += [
            with_fields(ask.query, service_resource(service, ask.moment.base))
            for service in known.values()
        ]
    return resources


async def _tier(
    ask: ApiRequest, sessions: Iterable[Session], name: str, found: dict[int, SessionRow]
) -> list[Session]:
    """Return the sessions one tier on from others, skipping those that have just gone."""
    tier = []
    for session in sessions:
        for ident in session.upstream_ids if name == "upstream" else session.downstream_ids:
            if len(found) % _LOOKED_UP == 0:
                await asyncio.sleep(0)  # give others a turn
            if ident not in found:
                try:
                    found[ident], _ = await ask.view.get(ident)
                except CallError as error:
                    if error.reason != "SESSION_NOT_FOUND":
                        raise
                    continue
            tier.append(found[ident].session)
    return tier
