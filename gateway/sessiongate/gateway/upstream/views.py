"""The views by which the gateway gets sessions: from the core, for each request, or a replica."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Protocol

from sessiongate.gateway.http.work import LIGHT_ROWS, work
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.client import CoreClient, OneCore
from sessiongate.gateway.upstream.indexes import FoundIds
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector, matching
from sessiongate.gateway.upstream.store import Store
from sessiongate.gateway.upstream.tallies import ServiceTallies, ServiceTally
from sessiongate.gateway.upstream.version import (
    NO_VERSION,
    Version,
    settled,
    version_of,
    version_of_session,
)
from sessiongate.runtime.sorted_sequence import SortedSequence
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import (
    ListSessionsRequest,
    ServiceStatus,
    SourceStatus,
)
from sessiongate.v1.source_service_pb2 import Source

# Sessions requested from the core at a time. To decode them takes two milliseconds, and several
# responses may arrive in one turn.
PAGE_SIZE = 1000
PART_SIZE = 2000  # sessions taken from a replica at a time: a few ms of work

_ID = attrgetter("id")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of the selected sessions, in id order, and their version."""

    sessions: Sequence[SessionRow]
    total: int  # number of sessions that are selected
    version: Version
    more: bool = False  # another part of a scan follows
    held: bool = False  # all parts are in memory anyway


class SessionView(Protocol):
    """Finds sessions. Each method raises `CallError`."""

    def version(self) -> Version | None:
        """Return the version that rows would have now, if it is known without a call."""

    def state(self) -> object | None:
        """Return an object that stays the same as long as no answer changes.

        None if answers are not known without a call.
        """

    def held(self, ident: int) -> tuple[SessionRow, Version] | None:
        """Return what `get` does, if it is known without a call."""

    async def get(self, ident: int) -> tuple[SessionRow, Version]:
        """Return a session by its id. The version is the session's, not the whole table's."""

    async def rows(
        self, selector: Selector, count: int, *, skip: int = 0, after: int = 0, before: int = 0
    ) -> Batch:
        """Return ``count`` rows, after the first ``skip`` or after the id ``after``.

        With ``before``, return the last ones before that id.
        """

    def scan(self, selector: Selector) -> AsyncGenerator[Batch]:
        """Yield all the rows in one or more parts; one part is in memory at a time."""

    async def tallies(
        self, services: frozenset[str] | None = None
    ) -> tuple[Mapping[str, ServiceTally], Version]:
        """Return the tallies of these services, or of all that have sessions, sorted by name."""

    async def services(self) -> Mapping[tuple[str, str], ServiceStatus]:
        """Return the status of services by source, by the names of both.

        Call it after rows are read, so that it is no older than their version.
        """

    async def check(self) -> None:
        """Raise `CallError` unless the view can answer now."""

    async def reach(self, revision: int) -> None:
        """Wait until no answer is older than a revision of the table."""


class DirectView:
    """Calls the core for each request."""

    def __init__(self, client: CoreClient) -> None:
        self._client = client

    def version(self) -> Version | None:
        return None

    def state(self) -> object | None:
        return None

    def held(self, ident: int) -> tuple[SessionRow, Version] | None:
        return None

    async def get(self, ident: int) -> tuple[SessionRow, Version]:
        found = await self._client.get_session(ident)
        return SessionRow(found.session), version_of_session(found)

    async def rows(
        self, selector: Selector, count: int, *, skip: int = 0, after: int = 0, before: int = 0
    ) -> Batch:
        if not selector.is_exact:
            return await self._tried(selector, count, skip=skip, after=after, before=before)
        request = ListSessionsRequest(
            filter=selector.filter(), skip=skip, after_id=after, before_id=before
        )
        if before:
            request.order_by = "id desc"
        found: list[SessionRow] = []
        version, core = NO_VERSION, OneCore(self._client)
        while True:
            request.page_size = min(count - len(found), PAGE_SIZE)
            page = await core.answer(self._client.list_sessions, request)
            version = version.and_older(version_of(page))
            found += await work(_rendered(page.sessions))
            if len(found) >= count or not page.next_page_token:
                return Batch(found[::-1] if before else found, page.total_size, version)
            request.page_token, request.skip = page.next_page_token, 0

    async def scan(self, selector: Selector) -> AsyncGenerator[Batch]:
        request = ListSessionsRequest(page_size=PAGE_SIZE, filter=selector.filter())
        core = OneCore(self._client)
        while True:
            page = await core.answer(self._client.list_sessions, request)
            sessions = await work(_rendered(page.sessions))
            if not selector.is_exact:
                sessions = await work(matching(sessions, selector))
            yield Batch(sessions, page.total_size, version_of(page), bool(page.next_page_token))
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def _tried(
        self, selector: Selector, count: int, *, skip: int, after: int, before: int
    ) -> Batch:
        """Return what `rows` does, of sessions that the core cannot count."""
        kept: list[SessionRow] = []
        total, version = 0, NO_VERSION
        async with aclosing(self.scan(selector)) as parts:
            async for rows in parts:
                version = version.and_older(rows.version)
                total += len(rows.sessions)
                if before:
                    kept = [*kept, *(row for row in rows.sessions if row.id < before)][-count:]
                elif len(kept) < skip + count:
                    kept += [row for row in rows.sessions if row.id > after]
        return Batch(kept if before else kept[skip : skip + count], total, version)

    async def tallies(
        self, services: frozenset[str] | None = None
    ) -> tuple[Mapping[str, ServiceTally], Version]:
        tallies, version = ServiceTallies(), NO_VERSION
        selector = EVERYTHING if services is None else Selector(services=services)
        async with aclosing(self.scan(selector)) as parts:
            async for rows in parts:
                await work(_counted(rows.sessions, tallies))
                version = version.and_older(rows.version)
        return tallies.of(), version

    async def services(self) -> Mapping[tuple[str, str], ServiceStatus]:
        return _services(await self._client.list_sources())

    async def check(self) -> None:
        await self._client.check()

    async def reach(self, revision: int) -> None:
        """Return at once: the core has this revision, as it has said."""


class ReplicaView:
    """Reads from a replica while it is provably current, else from the core."""

    def __init__(self, replica: Replica, direct: DirectView) -> None:
        self._replica = replica
        self._direct = direct

    def version(self) -> Version | None:
        return _version_of(self._replica.store) if self._replica.current else None

    def state(self) -> object | None:
        return self._replica.store.state if self._replica.current else None

    async def get(self, ident: int) -> tuple[SessionRow, Version]:
        found = self.held(ident)
        if found is None and await self._replica.becomes_current():
            found = self.held(ident)
        # The core may still know of a session that the replica does not hold.
        return found or await self._direct.get(ident)

    def held(self, ident: int) -> tuple[SessionRow, Version] | None:
        store = self._replica.store
        found = store.get(ident) if self._replica.current else None
        if found is None:
            return None
        revision, changed, identity = found.version
        changed = max(changed, store.sources_changed)
        return found, Version(revision, settled(changed, store.read), store.gaps, identity)

    async def rows(
        self, selector: Selector, count: int, *, skip: int = 0, after: int = 0, before: int = 0
    ) -> Batch:
        store = await self._found_by(selector)
        if store is None:
            return await self._direct.rows(selector, count, skip=skip, after=after, before=before)
        version = _version_of(store)
        if not selector:
            if before:
                return Batch(store.before(before, count), len(store), version)
            sessions = store.after(after, count) if after else store.at(skip, count)
            return Batch(sessions, len(store), version)
        wanted = selector.wanted()
        few = store.few(wanted)
        if few is not None:
            stop = bisect_left(few, before, key=_ID) if before else len(few)
            start = bisect_left(few, after + 1, key=_ID) if after else skip
            sessions = few[max(0, stop - count) : stop] if before else few[start : start + count]
            return Batch(sessions, len(few), version)
        everything, found = store.all(), store.find(wanted)
        if len(wanted) > 1:
            found = await work(_narrowed(everything, found, selector))
        if before:
            ids = found.before(before, count)
        else:
            ids = found.after(after, count) if after else await work(found.at(skip, count))
        return Batch(store.rows(ids, everything), len(found), version)

    async def scan(self, selector: Selector) -> AsyncGenerator[Batch]:
        store = await self._found_by(selector)
        if store is None:
            async for part in self._direct.scan(selector):
                yield part
            return
        version = _version_of(store)
        # One state of the table: changes while the response is sent are not mixed in.
        everything = store.all()
        found = store.find(selector.wanted()) if selector else None
        if found is not None and len(selector.wanted()) > 1:
            found = await work(_narrowed(everything, found, selector))
        total = len(everything if found is None else found)
        ids = iter(found or ())
        for start in range(0, max(total, 1), PART_SIZE):
            if start:
                await asyncio.sleep(0)  # let others run
            stop = start + PART_SIZE
            if found is None:
                rows = everything[start:stop]
            else:
                rows = store.rows(islice(ids, PART_SIZE), everything)
            yield Batch(rows, total, version, stop < total, held=True)

    async def tallies(
        self, services: frozenset[str] | None = None
    ) -> tuple[Mapping[str, ServiceTally], Version]:
        store = await self._indexed()
        if store is None:
            return await self._direct.tallies(services)
        return store.tallies(services), _version_of(store)

    async def _found_by(self, selector: Selector) -> Store | None:
        """Return the store, ready to be asked for a selector; None if the core is to be asked."""
        if selector.depends_on_clock or not await self._replica.becomes_current():
            return None
        store = self._replica.store
        if not selector or store.is_indexed:
            return store
        if selector.is_exact and len(store) > PART_SIZE:
            self._replica.index_later()  # meanwhile, the core finds them at once
            return None
        return await self._indexed()

    async def _indexed(self) -> Store | None:
        """Return the store once it is indexed; None if it is not current."""
        while await self._replica.becomes_current():
            store = self._replica.store
            if store.is_indexed:
                return store
            await work(self._replica.indexing())
        return None

    async def services(self) -> Mapping[tuple[str, str], ServiceStatus]:
        if not await self._replica.becomes_current():
            return await self._direct.services()
        return _services(self._replica.store.sources())

    async def check(self) -> None:
        if not await self._replica.becomes_current():
            await self._direct.check()

    async def reach(self, revision: int) -> None:
        await self._replica.reach(revision)


def _services(
    sources: Iterable[Source | SourceStatus],
) -> Mapping[tuple[str, str], ServiceStatus]:
    return {
        (source.name, service.name): service for source in sources for service in source.services
    }


def _rendered(sessions: Iterable[Session]) -> Steps[list[SessionRow]]:
    rows = []
    for session in sessions:
        yield
        rows.append(SessionRow(session))
    return rows


def _narrowed(
    everything: SortedSequence[SessionRow], found: FoundIds, selector: Selector
) -> Steps[FoundIds]:
    """Return the ids of the sessions that match, among those found by one field."""
    candidates = (row for ident in found if (row := everything.find(ident)) is not None)
    rows = yield from matching(candidates, selector)
    return FoundIds([tuple(row.id for row in rows)])


def _counted(rows: Sequence[SessionRow], tallies: ServiceTallies) -> Steps[None]:
    for start in range(0, len(rows), LIGHT_ROWS):
        yield
        tallies.change((), rows[start : start + LIGHT_ROWS])


def _version_of(store: Store) -> Version:
    return Version(store.revision, settled(store.changed, store.read), store.gaps)
