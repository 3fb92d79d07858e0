"""Services, as the sessions on them tell of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gateway.rendering import Rendered
from gateway.resources import service_names
from gateway.sessions import NO_VERSION, Rows, SessionView, Version, Wanted
from sessiongate.v1.session_pb2 import Session, SessionState

_LISTENER_STATES = (
    SessionState.SESSION_STATE_LISTENER,
    SessionState.SESSION_STATE_LISTENER_STOPPED,
)


@dataclass(slots=True)
class Service:
    """A service that has sessions."""

    name: str
    sources: set[str] = field(default_factory=set)
    connections: int = 0  # sessions that are not listeners
    listeners: int = 0
    started: int | None = None  # of the earliest listener, in seconds since the epoch

    def add(self, row: Rendered) -> None:
        """Count a session on this service."""
        self.sources.add(row.source)
        if row.state not in _LISTENER_STATES:
            self.connections += 1
            return
        self.listeners += 1
        connected = row.connected // 10**9
        self.started = connected if self.started is None else min(self.started, connected)


async def services_of(view: SessionView, wanted: Wanted) -> tuple[dict[str, Service], Version]:
    """The services of the sessions that are wanted, by name, sorted."""
    services: dict[str, Service] = {}
    version = NO_VERSION
    async for rows in view.scan(wanted):
        _count(rows, services)
        version = version.and_older(rows.version)
    return dict(sorted(services.items())), version


def _count(rows: Rows, services: dict[str, Service]) -> None:
    for row in rows.sessions:
        name = row.service
        if not name:
            continue  # a resource has a name
        if name not in services:
            services[name] = Service(name)
        services[name].add(row)


def services_url(base: str) -> str:
    """The URL of the collection."""
    return f"{base}/v1/services/"


def service_url(base: str, name: str) -> str:
    """The URL of one service. Any name stands in it, percent-encoded."""
    segment = quote(name, safe="")
    if segment in (".", ".."):  # which clients take for steps up, and remove
        segment = segment.replace(".", "%2E")
    return f"{base}/v1/services/{segment}"


def service_resource(service: Service, base: str) -> dict[str, Any]:
    """The resource object."""
    url = service_url(base, service.name)
    attributes: dict[str, Any] = {
        "sources": sorted(service.sources),
        "connections": service.connections,
        "listeners": service.listeners,
        "statistics": {"connections": service.connections},  # where maxctrl looks for them
    }
    if service.started is not None:
        attributes["started"] = time.asctime(time.gmtime(service.started))
    return {
        "id": service.name,
        "type": "services",
        "relationships": {"sessions": {"links": {"related": f"{url}/sessions"}}},
        "attributes": attributes,
        "links": {"self": url},
    }


def names_of(sessions: Iterable[Session]) -> frozenset[str]:
    """The services that sessions are on."""
    return frozenset(name for session in sessions for name in service_names(session))
