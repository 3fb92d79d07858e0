"""What may be asked, each thing declared once: from this it is routed, read and documented."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.answers import OFFERS, Ask
from gateway.documents import INCLUDES
from gateway.endpoints import STREAMED_OFFERS, list_sessions, show_api, show_linkage, show_session
from gateway.jsonapi.query import Takes
from gateway.paths import routed
from gateway.service_endpoints import (
    list_services,
    list_services_of_session,
    list_sessions_of_service,
    show_service,
)

Endpoint: TypeAlias = Callable[[Request, Ask], Awaitable[Response]]

# Every resource is for reading.
METHODS = ("GET", "HEAD", "OPTIONS")
ALLOW = {"Allow": ", ".join(METHODS)}


@dataclass(frozen=True, slots=True)
class Operation:
    """One resource, and how it is read."""

    name: str  # that generated clients call it by
    path: str  # in the documented form, with {…} where a name or an id stands
    endpoint: Endpoint
    summary: str
    answer: str  # the schema of its document, in gateway/openapi
    takes: Takes = Takes()  # noqa: RUF009 - frozen
    offers: Sequence[str] = OFFERS  # the media types that it may be had in
    live: bool = True  # told from sessions: it has validators, and fails where the core does

    def route(self) -> Route:
        """The operation as the router has it."""
        return Route(routed(self.path), self._answer, name=self.name, methods=[*METHODS])

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=ALLOW)
        return await self.endpoint(request, Ask.read(request, self.takes, self.offers))


_FIELDS = ("sessions", "services")
_SESSION = Takes(fields=_FIELDS, include=INCLUDES)
_SESSIONS = Takes(fields=_FIELDS, include=INCLUDES, collection=True)
_SERVICES = Takes(fields=("services",), collection=True)

OPERATIONS = (
    Operation(
        "listSessions",
        "/v1/sessions",
        list_sessions,
        "All sessions, or those that a filter lets through.",
        "Sessions",
        _SESSIONS,
        offers=STREAMED_OFFERS,
    ),
    Operation("getSession", "/v1/sessions/{id}", show_session, "One session.", "Session", _SESSION),
    Operation(
        "listServicesOfSession",
        "/v1/sessions/{id}/services",
        list_services_of_session,
        "The services that a session is on.",
        "Services",
        _SERVICES,
    ),
    Operation(
        "getServicesLinkage",
        "/v1/sessions/{id}/relationships/services",
        show_linkage,
        "The names of the services that a session is on.",
        "Linkage",
    ),
    Operation(
        "listServices",
        "/v1/services",
        list_services,
        "All services that have sessions.",
        "Services",
        _SERVICES,
    ),
    Operation(
        "getService",
        "/v1/services/{id}",
        show_service,
        "One service, by its name.",
        "Service",
        Takes(fields=("services",)),
    ),
    Operation(
        "listSessionsOfService",
        "/v1/services/{id}/sessions",
        list_sessions_of_service,
        "The sessions on a service.",
        "Sessions",
        _SESSIONS,
        offers=STREAMED_OFFERS,
    ),
    Operation(
        "getApi",
        "/v1/",
        show_api,
        "Where to go from here; also a health check.",
        "Api",
        live=False,
    ),
)
