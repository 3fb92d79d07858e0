"""The sessions resource of a REST API, read again and again without reading all of it.

Most of an answer is what the one before it was. Reading JSON costs more than all
else, so an answer that differs in nothing but its times is not read at all, and
in any other only the sessions that changed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from core.sources.base import (
    Observation,
    Observed,
    SourceError,
    Unreadable,
    UnreadableError,
    Wire,
    know_empty,
)
from core.sources.documented import read_session, resources_of
from core.sources.lenient_json import JsonError, loads
from core.sources.peer import address
from core.sources.place import Place, shown
from core.sources.serverzone import ServerZone
from core.sources.steady import TOLERANCE, again, steadied
from sessiongate.v1.session_service_pb2 import ServiceStatus

# The members that only the clock changes; ``idle`` is kept. These characters are
# nothing but a member's name in JSON: within a string the quotes are escaped.
_TIMES = re.compile(
    rb'"(?:idle"\s*:\s*(N)|seconds_alive"\s*:\s*N)'.replace(
        b"N", rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
    )
)

Servers = Mapping[str, tuple[str, int]]
"""Addresses and ports of servers, by name."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an answer is read with. Times are in seconds since the epoch."""

    moment: float  # when it came, by this clock
    zone: ServerZone  # of the server
    skew: float = 0.0  # seconds that the server's clock is ahead of this one
    servers: Servers = field(default_factory=dict)  # those that backend connections may lead to
    incarnation: float | None = None  # when the server started
    services: tuple[ServiceStatus, ...] = ()  # what the server says of them

    @property
    def server_moment(self) -> float:
        """When the answer came, by the server's clock."""
        return self.moment + self.skew


class SessionList:
    """Turns answers into observations, and remembers what it made of the last one."""

    def __init__(self, *, statements: bool = False) -> None:
        self._statements = statements
        self._lists = ("connections", "queries") if statements else ("connections",)
        self._known: dict[Hashable, _Known] = {}
        # Of the last answer: what stood between its times, when those of its sessions were
        # active that state it, and what was made of it.
        self._texts: list[bytes] = []
        self._actives: list[_Active] = []
        self._last: Observation | None = None
        # What was known apart from it: if that changes, all is read anew.
        self._knowledge: object = None
        # When the last answer came of which all sessions could be read, by the server's clock.
        self._looked: float | None = None

    def read(self, body: bytes, context: Context) -> Observation:
        """The sessions of an answer, in the order of their ids.

        Raises `SourceError` for what is no list of sessions.
        """
        parts = _TIMES.split(body)
        texts, idles = parts[::2], [float(idle) for idle in parts[1::2] if idle is not None]
        before = self._knowledge
        self._knowledge = (context.servers, context.zone, context.zone.proofs)
        is_known = self._knowledge == before
        last = self._last
        if is_known and last and texts == self._texts and self._is_steady(idles, context.moment):
            self._last = again(
                last,
                last.sessions,
                context.incarnation,
                last.unreadable,
                services=context.services,
            )
        else:
            self._last = self._read(body, context, is_known=is_known)
            self._texts = texts
        self._looked = None if self._last.unreadable else context.server_moment
        return self._last

    def _is_steady(self, idles: list[float], moment: float) -> bool:
        """Whether no session was active since the last answer, as far as its times tell."""
        return len(idles) == len(self._actives) and all(
            abs(moment - idle - active.moment) <= TOLERANCE or (active.is_busy and not idle)
            for idle, active in zip(idles, self._actives, strict=True)
        )

    def _read(self, body: bytes, context: Context, *, is_known: bool) -> Observation:
        seen: dict[Hashable, _Known] = {}
        unreadable = []
        for index, place in enumerate(resources_of(parse(body))):
            try:
                resource = _resource(place)
                ident = resource["id"]
                slot = ident if ident not in seen else (ident, index)
                seen[slot] = self._look(self._known.get(slot), resource, context, is_known)
            except UnreadableError as error:
                unreadable.append(Unreadable(str(error)))
        self._known = seen
        self._actives = [known.active for known in seen.values() if known.active is not None]
        sessions = [known.observed for known in sorted(seen.values(), key=_ascending)]
        return again(
            self._last,
            sessions,
            context.incarnation,
            tuple(unreadable),
            services=context.services,
        )

    def _look(
        self, known: _Known | None, resource: dict[str, Any], context: Context, is_known: bool
    ) -> _Known:
        """What a resource object is; ``known`` if it is what it was. Raises `UnreadableError`."""
        attributes = resource["attributes"]
        alive, idle = attributes.pop("seconds_alive", None), attributes.pop("idle", None)
        is_same = known is not None and known.stated == resource
        active = _active(idle, context.moment, known, is_same=is_same)
        if is_known and known is not None and is_same and _moment(known.active) == _moment(active):
            return replace(known, active=active)
        if active is not None:
            idle = max(0.0, context.moment - active.moment)
        whole = {**resource, "attributes": {**attributes, "idle": idle}}
        times = _RowTimes(context, self._looked, known, whole, alive)
        place = Place(whole, None, f"session {shown(resource['id'])} ")
        item = read_session(place, times, statements=self._statements)
        stated = [name for name in self._lists if isinstance(attributes.get(name), list)]
        know_empty(item.session, item.unreadable, *stated)
        observed = _wired(item, context.servers)
        return _Known(resource, active, times.started, times.resolved, observed)


class _Active(NamedTuple):
    """When a client was last active."""

    moment: float  # seconds since the epoch
    is_busy: bool  # its idle time was 0, as it is for as long as a statement runs


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of a resource object."""

    stated: dict[str, Any]  # the resource object, without its times
    active: _Active | None
    # What its local times were read as, once that was certain: its start, and the times of
    # statements by their texts. They would be less certain later.
    started: float | None
    resolved: Mapping[str, float]
    observed: Observed


class _RowTimes:
    """The times of one session, each between the moments that it can have been."""

    def __init__(
        self,
        context: Context,
        looked: float | None,
        known: _Known | None,
        resource: dict[str, Any],
        alive: object,
    ) -> None:
        """``looked`` is when the last answer came, ``alive`` the session's age as stated."""
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
        if known is not None and known.started is not None and self._is_known("connected"):
            self.started = known.started
        elif isinstance(self._alive, int | float) and 0 <= self._alive <= self._now:
            began = self._now - self._alive
            self.started = self._zone.read(local, began, began)
        else:
            # One that the last answer lacked began since then.
            earliest = self._looked if known is None else -math.inf
            self.started = self._zone.read(local, earliest, self._now)
        return self.started

    def of_statement(self, text: str, local: datetime, start: float) -> float | None:
        moment = self._known.resolved.get(text) if self._known is not None else None
        if moment is None:
            is_new = self._known is None or not self._was_stated(text)
            earliest = max(start, self._looked) if is_new else start
            moment = self._zone.read(local, earliest, self._now)
        if moment is not None:
            self.resolved[text] = moment
        return moment

    def _is_known(self, name: str) -> bool:
        """Whether the known session stated the same by an attribute."""
        assert self._known is not None  # noqa: S101
        stated = self._known.stated["attributes"]
        return bool(stated.get(name) == self._resource["attributes"].get(name))

    def _was_stated(self, text: str) -> bool:
        """Whether the known session stated this time of a statement already."""
        assert self._known is not None  # noqa: S101
        queries = self._known.stated["attributes"].get("queries")
        return isinstance(queries, list) and any(
            isinstance(query, dict) and text in (query.get("received"), query.get("completed"))
            for query in queries
        )


def _moment(active: _Active | None) -> float | None:
    return None if active is None else active.moment


def _active(idle: object, moment: float, known: _Known | None, *, is_same: bool) -> _Active | None:
    """When a client was last active, by its idle time; None if that states no such moment."""
    if not isinstance(idle, int | float) or isinstance(idle, bool) or not 0 <= idle <= moment:
        return None
    before = known.active if known else None
    if before is None:
        return _Active(moment - idle, not idle)
    if before.is_busy and not idle and is_same:
        return before  # still at it: nothing but the clock has changed
    return _Active(steadied(moment - idle, before.moment), not idle)


def _resource(place: Place) -> dict[str, Any]:
    """A resource object with an id and attributes. Raises `UnreadableError`."""
    place.member("id").text()
    place.member("attributes").object()
    return place.object()


def parse(body: bytes) -> object:
    """The JSON value of a body, or `SourceError`."""
    try:
        return loads(body)
    except JsonError:
        raise SourceError("this is not JSON") from None


def _wired(item: Observed, servers: Servers) -> Observed:
    """The session with the wires that it states."""
    session = item.session
    ident = session.native_id
    client = None
    if session.HasField("port") and (remote := address(session.remote)) is not None:
        client = (remote, session.port)
    number = int(ident) if ident.isascii() and ident.isdigit() and len(ident) < 20 else None
    return replace(
        item,
        accepted=Wire(client=client, server_id=number) if client else None,
        opened=tuple(
            Wire(server=servers[backend.server], server_id=backend.connection_id)
            for backend in session.connections
            if backend.server in servers and backend.HasField("connection_id")
        ),
    )


def _ascending(known: _Known) -> tuple[int, str]:
    """Ids as text in the order of the numbers that they are."""
    ident = known.observed.session.native_id
    return len(ident), ident
