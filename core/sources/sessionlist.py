"""The sessions resource of a REST API, read again and again without reading all of it.

Most of an answer is what the one before it was. Reading JSON costs more than all
else, so an answer that differs in nothing but its times is not read at all, and
in any other only the sessions that changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from core.sources.base import Observation, Observed, SourceError, Wire
from core.sources.documented import read_sessions
from core.sources.peer import address
from core.sources.steady import TOLERANCE, again, steadied

# The members that only the clock changes; ``idle`` is kept. These characters are
# nothing but a member's name in JSON: within a string the quotes are escaped.
_TIMES = re.compile(
    rb'"(?:idle"\s*:\s*(N)|seconds_alive"\s*:\s*N)'.replace(
        b"N", rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
    )
)

Servers = Mapping[str, tuple[str, int]]
"""Addresses and ports of servers, by name."""


class SessionList:
    """Turns answers into observations, and remembers what it made of the last one."""

    def __init__(self, *, statements: bool = False) -> None:
        self._statements = statements
        self._known: dict[str, _Known] = {}
        self._servers: Servers = {}
        # The last answer: what stood between its times, and what was made of it.
        self._texts: list[bytes] = []
        self._actives: list[float] = []  # of its sessions that state it, in its order
        self._last: Observation | None = None

    def read(
        self, body: bytes, moment: float, servers: Servers, incarnation: float | None
    ) -> Observation:
        """The sessions of an answer that came at ``moment``, in the order of their ids.

        Times are in seconds since the epoch. ``servers`` are those that backend
        connections may lead to. Raises `SourceError`, as `read_sessions` does.
        """
        parts = _TIMES.split(body)
        texts, idles = parts[::2], [float(idle) for idle in parts[1::2] if idle is not None]
        if servers != self._servers:
            self._known = {}
        elif texts == self._texts and self._is_steady(idles, moment) and self._last is not None:
            self._last = again(self._last, self._last.sessions, incarnation)
            return self._last
        resources = _resources(body)
        seen = {}
        for resource in resources:
            ident = resource["id"]
            seen[ident] = self._look(self._known.get(ident), resource, moment, servers, body)
        self._known, self._servers, self._texts = seen, servers, texts
        self._actives = [known.active for known in seen.values() if known.active is not None]
        sessions = [seen[ident].observed for ident in sorted(seen, key=_ascending)]
        self._last = again(self._last, sessions, incarnation)
        return self._last

    def _is_steady(self, idles: list[float], moment: float) -> bool:
        """Whether no session was active since the last answer."""
        return len(idles) == len(self._actives) and all(
            abs(moment - idle - active) <= TOLERANCE
            for idle, active in zip(idles, self._actives, strict=True)
        )

    def _look(
        self,
        known: _Known | None,
        resource: dict[str, Any],
        moment: float,
        servers: Servers,
        body: bytes,
    ) -> _Known:
        """What a resource object is; ``known`` where it is what it was."""
        attributes = resource["attributes"]
        attributes.pop("seconds_alive", None)
        idle = attributes.pop("idle", None)
        active = None
        if type(idle) in (int, float) and 0 <= idle <= moment:
            active = steadied(moment - idle, known.active if known else None)
            idle = max(0.0, moment - active)
        if known is not None and known.stated == resource and known.active == active:
            return known
        whole = {**resource, "attributes": {**attributes, "idle": idle}}
        when = datetime.fromtimestamp(moment, UTC)
        try:
            (item,) = read_sessions({"data": [whole]}, when, statements=self._statements)
        except SourceError:
            # Of the whole answer, so that the error names the place in it.
            read_sessions(parse(body), when, statements=self._statements)
            raise
        return _Known(resource, active, _wired(item, servers))


@dataclass(frozen=True, slots=True)
class _Known:
    """What was made of a resource object."""

    stated: dict[str, Any]  # the resource object, without its times
    active: float | None  # when the client was last active, in seconds since the epoch
    observed: Observed


def _resources(body: bytes) -> list[dict[str, Any]]:
    """The resource objects of an answer, each with an id and attributes."""
    document = parse(body)
    match document:
        case {"data": list(resources)} if all(map(_is_resource, resources)):
            return resources
    read_sessions(document, datetime.now(UTC))  # raises what is wrong
    raise SourceError("this is no list of sessions")


def _is_resource(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("attributes"), dict)
    )


def parse(body: bytes) -> object:
    """The JSON value of a body, or `SourceError`."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        raise SourceError("this is not JSON") from None
    return value


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


def _ascending(ident: str) -> tuple[int, str]:
    """Numbers as text in the order of the numbers."""
    return len(ident), ident
