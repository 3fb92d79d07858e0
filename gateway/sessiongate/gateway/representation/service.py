"""Services, derived from their sessions and from what their sources report."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sessiongate.gateway.upstream.tallies import ServiceTally
from sessiongate.gateway.upstream.version import Version
from sessiongate.gateway.upstream.views import SessionView
from sessiongate.v1.session_service_pb2 import ServiceStatus


@dataclass(slots=True)
class Service:
    """A service that has sessions."""

    name: str
    tally: ServiceTally
    router: str | None = None  # in the source's own words
    state: str | None = None  # in the source's own words

    def describe(self, statuses: Mapping[tuple[str, str], ServiceStatus]) -> None:
        """Copy the router and state from the first source, by name, that reports a status."""
        for source in self.tally.sources:
            if status := statuses.get((source, self.name)):
                self.router = status.router if status.HasField("router") else None
                self.state = status.state if status.HasField("state") else None
                return


async def services_of(
    view: SessionView, names: frozenset[str] | None = None
) -> tuple[dict[str, Service], Version]:
    """Return these services, or all, as far as they have sessions; by name, sorted."""
    tallies, version = await view.tallies(names)
    services = {name: Service(name, tally) for name, tally in tallies.items()}
    if services:
        if (now := view.version()) is not None:
            version = version.and_older(now)  # of the copy that the statuses are read from
        statuses = await view.services()
        for service in services.values():
            service.describe(statuses)
    return services, version


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
    url, tally = service_url(base, service.name), service.tally
    attributes: dict[str, Any] = {
        "sources": [*tally.sources],
        "connections": tally.connections,
        "listeners": tally.listeners,
        "statistics": {"connections": tally.connections},  # read by maxctrl
    }
    if tally.started is not None:
        attributes["started"] = time.asctime(time.gmtime(tally.started))
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
