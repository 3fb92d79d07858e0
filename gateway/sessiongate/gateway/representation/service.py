"""Services, derived from their sessions and from what their sources report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sessiongate.gateway.http.work import LIGHT_ROWS, work
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.representation.session import service_names
from sessiongate.gateway.upstream.views import NO_VERSION, Batch, Selector, SessionView, Version
from sessiongate.runtime.turns import Steps
from sessiongate.v1.session_pb2 import Session, SessionState
from sessiongate.v1.session_service_pb2 import ServiceStatus

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
    router: str | None = None  # in the source's own words
    state: str | None = None  # in the source's own words

    def add(self, row: SessionRow) -> None:
        """Count a session on this service."""
        self.sources.add(row.source)
        if row.state not in _LISTENER_STATES:
            self.connections += 1
            return
        self.listeners += 1
        connected = row.connected // 10**9
        self.started = connected if self.started is None else min(self.started, connected)

    def describe(self, statuses: Mapping[tuple[str, str], ServiceStatus]) -> None:
        """Copy the router and state from the first source, by name, that reports a status."""
        for source in sorted(self.sources):
            if status := statuses.get((source, self.name)):
                self.router = status.router if status.HasField("router") else None
                self.state = status.state if status.HasField("state") else None
                return


async def services_of(view: SessionView, selector: Selector) -> tuple[dict[str, Service], Version]:
    """Return the services of the selected sessions by name, sorted."""
    services: dict[str, Service] = {}
    version = NO_VERSION
    async for rows in view.scan(selector):
        await work(_count(rows, services))
        version = version.and_older(rows.version)
    if services:
        if (now := view.version()) is not None:
            version = version.and_older(now)  # of the copy that the statuses are read from
        statuses = await view.services()
        for service in services.values():
            service.describe(statuses)
    return dict(sorted(services.items())), version


def _count(rows: Batch, services: dict[str, Service]) -> Steps[None]:
    for index, row in enumerate(rows.sessions):
        if index % LIGHT_ROWS == 0:
            yield
        name = row.service
        if not name:
            continue  # a resource needs a name
        if name not in services:
            services[name] = Service(name)
        services[name].add(row)


def services_url(base: str) -> str:
    """Return the URL of the collection."""
    return f"{base}/v1/services/"


def service_url(base: str, name: str) -> str:
    """Return the URL of one service; its name may contain any character."""
    segment = quote(name, safe="")
    if segment in (".", ".."):  # dot segments, which clients resolve and remove
        segment = segment.replace(".", "%2E")
    return f"{base}/v1/services/{segment}"


def service_resource(service: Service, base: str) -> dict[str, Any]:
    """Return the resource object."""
    url = service_url(base, service.name)
    attributes: dict[str, Any] = {
        "sources": sorted(service.sources),
        "connections": service.connections,
        "listeners": service.listeners,
        "statistics": {"connections": service.connections},  # read by maxctrl
    }
    if service.started is not None:
        attributes["started"] = time.asctime(time.gmtime(service.started))
    if service.router is not None:
        attributes["router"] = service.router
    if service.state is not None:
        attributes["state"] = service.state
    return {
        "id": service.name,
        "type": "services",
        "relationships": {"sessions": {"links": {"related": f"{url}/sessions"}}},
        "attributes": attributes,
        "links": {"self": url},
    }


def names_of(sessions: Iterable[Session]) -> frozenset[str]:
    """Return the names of the services that sessions are on."""
    return frozenset(name for session in sessions for name in service_names(session))
