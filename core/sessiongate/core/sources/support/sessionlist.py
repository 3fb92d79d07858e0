"""Repeated reading of a REST API's sessions resource, without reading all of it.

Most of a response is the same as in the previous one. Reading JSON costs more than
anything else, so a response that differs only in its times is not read at all, and
of any other response only the changed sessions are read.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Hashable, Mapping, Sequence, Set
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sessiongate.core.sources.base import (
    DEFAULT_MAX_SESSIONS,
    Observation,
    Observed,
    SourceError,
    TcpLink,
    UnreadableError,
    know_empty,
)
from sessiongate.core.sources.support.elements import ElementBatch, Elements
from sessiongate.core.sources.support.faults import Faults
from sessiongate.core.sources.support.json_cursor import JsonCursor, ascii_excerpt
from sessiongate.core.sources.support.jsonapi_activity import infer_activity
from sessiongate.core.sources.support.jsonapi_sessions import read_session
from sessiongate.core.sources.support.lenient_json import JsonError, loads
from sessiongate.core.sources.support.pacing import Pace, batches, in_order, kept
from sessiongate.core.sources.support.peer import canonical_address
from sessiongate.core.sources.support.runs import (
    MAX_REMEMBERED_BYTES,
    KnownElement,
    Run,
    Runs,
    digest,
    last_active,
)
from sessiongate.core.sources.support.serverzone import ServerZone
from sessiongate.core.sources.support.stability import reuse_if_same
from sessiongate.v1.session_service_pb2 import ServiceStatus

Servers = Mapping[str, tuple[str, int]]
"""Addresses and ports of servers, by name."""


@dataclass(frozen=True, slots=True)
class ReadingContext:
    """The facts that are known when a response is read. Times are in seconds since the epoch."""

    moment: float  # when it arrived, by this machine's clock
    zone: ServerZone  # of the server
    skew: float = 0.0  # seconds that the server's clock is ahead of this one
    servers: Servers = field(default_factory=dict)  # targets of backend connections
    incarnation: float | None = None  # when the server started
    services: tuple[ServiceStatus, ...] = ()  # what the server states about services

    @property
    def server_moment(self) -> float:
        """When the response arrived, by the server's clock."""
        return self.moment + self.skew


class SessionList:
    """Turns responses into observations, and keeps the sessions of the last one."""

    def __init__(
        self, *, statements: bool = False, max_sessions: int = DEFAULT_MAX_SESSIONS
    ) -> None:
        self._statements = statements
        self._lists = ("connections", "queries") if statements else ("connections",)
        # Read more than the core shows: it prefers the sessions that it knows already.
        self._most = 2 * max_sessions
        # The sessions and runs of the last response, and its observation.
        self._known: dict[Hashable, KnownElement] = {}
        self._runs: Sequence[Run] = ()
        self._is_all_runs = False
        self._last: Observation | None = None
        # What was known besides the response: if it changes, everything is read again.
        self._knowledge: object = None
        # When the last response arrived, by the server's clock; None unless all of it was read.
        self._looked: float | None = None

    async def read(self, answer: AsyncIterable[bytes], context: ReadingContext) -> Observation:
        """Read the sessions of a response while it arrives; return them in the order of their ids.

        Raises `SourceError` for anything but a list of sessions, and then keeps nothing of it.
        """
        knowledge = (context.servers, context.zone, context.zone.proofs)
        is_known = self._knowledge == knowledge
        known = Runs(self._runs if is_known else (), is_all=self._is_all_runs)
        seen = _Seen(known, context.moment)
        elements = Elements(self._most, skim=seen.skim, is_known=known.begins)
        pace = Pace()
        try:
            async for batch in batches(elements, answer, pace):
                rows: list[tuple[Hashable, KnownElement]] = []
                for place in batch.places():
                    try:
                        resource = _resource(place)
                        slot = seen.slot(resource["id"])
                        found = self._look(self._known.get(slot), resource, context, is_known)
                        rows.append((slot, found))
                        seen.rows[slot] = found
                    except UnreadableError as error:
                        seen.unreadable.note(str(error))
                    if pace.is_due:
                        await pace.rest()
                seen.keep(batch, rows)
        except JsonError:
            raise SourceError("not JSON") from None
        except UnreadableError as error:
            raise SourceError(str(error)) from None
        self._knowledge, self._runs, self._is_all_runs = knowledge, seen.runs, seen.is_all_runs
        if seen.is_as_before:
            assert self._last is not None  # noqa: S101 - an observation had these runs
            sessions, unreadable = self._last.sessions, self._last.unreadable
        else:
            self._known = seen.all()
            await self._set_blockers(pace)
            ordered = await in_order(self._known.values(), lambda known: known.order, pace)
            sessions, unreadable = [known.observed for known in ordered], tuple(seen.unreadable.all)
        self._last = reuse_if_same(
            self._last,
            sessions,
            context.incarnation,
            unreadable,
            elements.partial,
            context.services,
        )
        self._looked = None if unreadable or elements.truncated else context.server_moment
        return self._last

    async def _set_blockers(self, pace: Pace) -> None:
        """Set the keys of those that others wait for, once all are known."""
        for slot, known in await kept(lambda row: bool(row[1].blockers), self._known.items(), pace):
            found = (self._known.get(ident) for ident in known.blockers)
            keys = tuple(each.observed.key for each in found if each is not None)
            if known.observed.blocked_by is known.blockers:  # ids: it has not been delivered
                known.observed.blocked_by = keys
            elif known.observed.blocked_by != keys:
                observed = copy(known.observed)
                observed.blocked_by = keys
                self._known[slot] = replace(known, observed=observed)

    def _look(
        self,
        known: KnownElement | None,
        resource: dict[str, Any],
        context: ReadingContext,
        is_known: bool,
    ) -> KnownElement:
        """Read a resource object; reuse ``known`` if unchanged. Raises `UnreadableError`."""
        attributes = resource["attributes"]
        alive, idle = attributes.pop("seconds_alive", None), attributes.pop("idle", None)
        found = digest(resource)
        is_same = known is not None and known.digest == found != b""
        active = last_active(idle, context.moment, known, is_same=is_same)
        if is_known and known is not None and is_same and known.active == active:
            return replace(known, active=active)
        if active is not None:
            idle = max(0.0, context.moment - active.moment)
        whole = {**resource, "attributes": {**attributes, "idle": idle}}
        times = _RowTimes(context, self._looked, known, whole, alive)
        place = JsonCursor(whole, None, f"session {ascii_excerpt(resource['id'])} ")
        item = read_session(place, times, statements=self._statements)
        stated = [name for name in self._lists if isinstance(attributes.get(name), list)]
        know_empty(item.session, item.unreadable, *stated)
        if alive is not None and active is not None:  # a sessiongate does not state its age
            infer_activity(item.session, attributes, active)
        observed = _linked(item, context.servers)
        connected = attributes.get("connected")
        return KnownElement(
            ident=resource["id"],
            digest=found,
            connected=connected if isinstance(connected, str) else None,
            texts=_times_of(attributes.get("queries")),
            active=active,
            started=times.started,
            resolved=times.resolved,
            blockers=item.blocked_by,
            observed=observed,
        )


class _Seen:
    """The sessions that have been found in a response so far."""

    def __init__(self, known: Runs, moment: float) -> None:
        self.rows: dict[Hashable, KnownElement] = {}
        self.unreadable = Faults()
        self.runs: list[Run] = []
        self._known = known
        self._moment = moment
        self._skimmed: list[Run] = []  # not yet in ``rows``
        self._is_skimmed = True  # the whole response
        self.is_all_runs = True  # the response has nothing else
        self._kept = 0  # bytes of text

    @property
    def is_as_before(self) -> bool:
        """Whether the response is the same as the last one."""
        known = self._known
        return self._is_skimmed and known.is_all and len(self.runs) == len(known.all) > 0

    def skim(self, data: bytes, start: int) -> tuple[int, int]:
        """Return how many bytes and sessions of the response are unchanged from ``start``."""
        found = self._known.found(data, start, self._moment)
        if found is None:
            return 0, 0
        run, length = found
        self._skimmed.append(run)
        self._keep(run)
        return length, len(run.rows)

    def slot(self, ident: str) -> Hashable:
        """Return the key under which to store the next session."""
        self._fold()
        return ident if ident not in self.rows else (ident, len(self.rows))

    def keep(self, batch: ElementBatch, rows: Sequence[tuple[Hashable, KnownElement]]) -> None:
        """Keep the text of sessions that were read."""
        self._is_skimmed = False
        if len(rows) == len(batch.values) and batch.text:
            self._keep(Run(batch.text, rows))
        else:
            self.is_all_runs = False

    def all(self) -> dict[Hashable, KnownElement]:
        """Return all the sessions."""
        self._fold()
        return self.rows

    def _keep(self, run: Run) -> None:
        if self._kept + run.size <= MAX_REMEMBERED_BYTES:
            self._kept += run.size
            self.runs.append(run)
        else:
            self.is_all_runs = False

    def _fold(self) -> None:
        for run in self._skimmed:
            for slot, known in run.rows:
                free = slot if slot not in self.rows else (slot, len(self.rows))
                self.rows[free] = known
        self._skimmed.clear()


class _RowTimes:
    """Reads the times of one session, each within its possible range."""

    def __init__(
        self,
        context: ReadingContext,
        looked: float | None,
        known: KnownElement | None,
        resource: dict[str, Any],
        alive: object,
    ) -> None:
        """Read with the last response's arrival (``looked``) and the session's age (``alive``)."""
        self.moment = context.moment
        self.started: float | None = None
        self.resolved: dict[str, float] = {}
        self._zone = context.zone
        self._now = context.server_moment
        self._looked = -math.inf if looked is None else looked
        self._known = known
        self._resource = resource
        self._alive = alive

    @property
    def doubt(self) -> str:
        return self._zone.doubt

    def start(self, local: datetime) -> float | None:
        known = self._known
        connected = self._resource["attributes"].get("connected")
        if known is not None and known.started is not None and known.connected == connected:
            self.started = known.started
        elif isinstance(self._alive, int | float) and 0 <= self._alive <= self._now:
            began = self._now - self._alive
            self.started = self._zone.read(local, began, began)
        else:
            # A session that the last response lacked has begun since then.
            earliest = self._looked if known is None else -math.inf
            self.started = self._zone.read(local, earliest, self._now)
        return self.started

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        moment = self._known.resolved.get(text) if self._known is not None else None
        if moment is None:
            is_new = self._known is None or text not in self._known.texts
            earliest = max(start, self._looked) if is_new else start
            moment = self._zone.read(local, earliest, self._now)
        if moment is not None:
            self.resolved[text] = moment
        return moment


_NO_TIMES: Set[str] = frozenset()


def _times_of(queries: object) -> Set[str]:
    """Return the times of statements, as stated."""
    if not isinstance(queries, list) or not queries:
        return _NO_TIMES
    times = (
        query.get(name)
        for query in queries
        if isinstance(query, dict)
        for name in ("received", "completed")
    )
    return frozenset(time for time in times if isinstance(time, str))


def _resource(place: JsonCursor) -> dict[str, Any]:
    """Return a resource object with an id and attributes. Raises `UnreadableError`."""
    place.member("id").text()
    place.member("attributes").object()
    return place.object()


def parse_json(body: bytes) -> object:
    """Return the JSON value of a body. Raises `SourceError`."""
    try:
        return loads(body)
    except JsonError:
        raise SourceError("not JSON") from None


def _linked(item: Observed, servers: Servers) -> Observed:
    """Return the session with its TCP links."""
    session = item.session
    ident = session.native_id
    client = None
    if session.HasField("port") and (remote := canonical_address(session.remote)) is not None:
        client = (remote, session.port)
    number = int(ident) if ident.isascii() and ident.isdigit() and len(ident) < 20 else None
    item.accepted = TcpLink(client=client, server_id=number) if client else None
    item.opened = tuple(
        TcpLink(server=servers[backend.server], server_id=backend.connection_id)
        for backend in session.connections
        if backend.server in servers and backend.HasField("connection_id")
    )
    return item
