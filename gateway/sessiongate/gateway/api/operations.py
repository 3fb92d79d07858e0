"""All operations of the API."""

from __future__ import annotations

from dataclasses import replace

from sessiongate.gateway.api.counts import list_counts
from sessiongate.gateway.api.documents import INCLUDES
from sessiongate.gateway.api.health import show_life, show_readiness
from sessiongate.gateway.api.history import list_past_sessions, show_past_session
from sessiongate.gateway.api.host_names import RDNS
from sessiongate.gateway.api.maxscale import show_maxscale
from sessiongate.gateway.api.members import MEMBERS, PAST_MEMBERS
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.past_counts import PAST_COUNTS_TEXTS, count_past_sessions
from sessiongate.gateway.api.past_select import PAST_ORDERS
from sessiongate.gateway.api.past_time import TIMES
from sessiongate.gateway.api.services import (
    list_services,
    list_services_of_session,
    list_sessions_of_service,
    show_service,
)
from sessiongate.gateway.api.sessions import (
    list_sessions,
    show_api,
    show_linkage,
    show_session,
)
from sessiongate.gateway.api.sources import list_sources, show_source
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.negotiation import JSON
from sessiongate.gateway.jsonapi.query import AllowedParameters
from sessiongate.gateway.openapi.endpoints import HTML, show_description, show_reference
from sessiongate.gateway.representation.count import COUNTED_BY
from sessiongate.gateway.upstream.selector import AGES

_SESSION = AllowedParameters(
    switches=(RDNS,),
    fields={kind: MEMBERS[kind] for kind in ("sessions", "services")},
    include=INCLUDES,
)
_SESSIONS = replace(_SESSION, collection=MEMBERS["sessions"], numbers=AGES)
_EVENTS = AllowedParameters(
    fields={"sessions": MEMBERS["sessions"]}, collection=MEMBERS["sessions"], ordered=False
)
_COUNTS = AllowedParameters(
    collection=MEMBERS["sessions"], numbers=AGES, by=tuple(COUNTED_BY), ordered=False
)
_PAST_SESSION = AllowedParameters(fields={"sessions": PAST_MEMBERS})
_PAST_SESSIONS = replace(
    _PAST_SESSION, collection=PAST_MEMBERS, orders=PAST_ORDERS, forward=True, texts=TIMES
)
_PAST_COUNTS = AllowedParameters(collection=PAST_MEMBERS, ordered=False, texts=PAST_COUNTS_TEXTS)
_SERVICE = AllowedParameters(fields={"services": MEMBERS["services"]})
_SERVICES = replace(_SERVICE, collection=MEMBERS["services"])
_SOURCE = AllowedParameters(fields={"sources": MEMBERS["sources"]})
_SOURCES = replace(_SOURCE, collection=MEMBERS["sources"])

OPERATIONS = (
    # The most frequent come first, because the router tries them in order.
    Operation(
        "getSession",
        "/v1/sessions/{id}",
        show_session,
        "One session",
        "Return one session.",
        "Session",
        "sessions",
        _SESSION,
    ),
    Operation(
        "listSessions",
        "/v1/sessions",
        list_sessions,
        "All sessions",
        "List all sessions, or those that match a filter.",
        "Sessions",
        "sessions",
        _SESSIONS,
        streams=True,
    ),
    Operation(
        "listServicesOfSession",
        "/v1/sessions/{id}/services",
        list_services_of_session,
        "Services of a session",
        "List the services of a session.",
        "Services",
        "services",
        _SERVICES,
    ),
    Operation(
        "getServicesLinkage",
        "/v1/sessions/{id}/relationships/services",
        show_linkage,
        "Service names of a session",
        "List the names of a session's services.",
        "Linkage",
        "services",
    ),
    Operation(
        "listServices",
        "/v1/services",
        list_services,
        "All services",
        "List all services that have sessions.",
        "Services",
        "services",
        _SERVICES,
    ),
    Operation(
        "getService",
        "/v1/services/{id}",
        show_service,
        "One service",
        "Return one service, by name.",
        "Service",
        "services",
        _SERVICE,
    ),
    Operation(
        "listSessionsOfService",
        "/v1/services/{id}/sessions",
        list_sessions_of_service,
        "Sessions of a service",
        "List the sessions of a service.",
        "Sessions",
        "sessions",
        _SESSIONS,
        streams=True,
    ),
    Operation(
        "watchSessions",
        "/v1/events/sessions",
        list_sessions,
        "Follow all sessions",
        "Follow all sessions, or those that match a filter, as they come, change and go.",
        "Events",
        "sessions",
        _EVENTS,
        offers=(EVENT_STREAM,),
        live=False,
    ),
    Operation(
        "watchSessionsOfService",
        "/v1/events/services/{id}/sessions",
        list_sessions_of_service,
        "Follow a service",
        "Follow the sessions of a service, which may have none yet.",
        "Events",
        "sessions",
        _EVENTS,
        offers=(EVENT_STREAM,),
        live=False,
    ),
    Operation(
        "listCounts",
        "/v1/counts",
        list_counts,
        "Count sessions",
        "Count sessions by what they have in common, the largest count first.",
        "Counts",
        "counts",
        _COUNTS,
    ),
    Operation(
        "listPastSessions",
        "/v1/history/sessions",
        list_past_sessions,
        "Sessions of the past",
        "List the sessions that were connected at a moment, or from one moment to another, whether"
        " they have ended or not, as they were last seen.",
        "PastSessions",
        "sessions",
        _PAST_SESSIONS,
        live=False,
    ),
    Operation(
        "countPastSessions",
        "/v1/history/counts",
        count_past_sessions,
        "Counts over time",
        "Count the sessions that were connected at each of some moments of the past, in all or by"
        " what they have in common, the largest count first.",
        "PastCounts",
        "counts",
        _PAST_COUNTS,
        live=False,
    ),
    Operation(
        "getPastSession",
        "/v1/history/sessions/{id}",
        show_past_session,
        "One session of the past",
        "Return one session, whether it has ended or not, as it was last seen.",
        "PastSession",
        "sessions",
        _PAST_SESSION,
        live=False,
    ),
    Operation(
        "listSources",
        "/v1/sources",
        list_sources,
        "All sources",
        "List all sources that sessions are read from.",
        "Sources",
        "sources",
        _SOURCES,
        live=False,
    ),
    Operation(
        "getSource",
        "/v1/sources/{id}",
        show_source,
        "One source",
        "Return one source, by name.",
        "Source",
        "sources",
        _SOURCE,
        live=False,
    ),
    Operation(
        "getMaxScale",
        "/v1/maxscale",
        show_maxscale,
        "MaxScale's parameters",
        "Return what MaxScale's clients request before they list queries.",
        "MaxScale",
        "maxscale",
        AllowedParameters(fields={"maxscale": MEMBERS["maxscale"]}),
    ),
    Operation(
        "getApi",
        "/v1",
        show_api,
        "Links to all collections",
        "Return links to all collections; also a health check.",
        "Api",
        "api",
        live=False,
        asks=False,
    ),
    Operation(
        "getDescription",
        "/v1/openapi.json",
        show_description,
        "OpenAPI description",
        "Return this description of the API.",
        "Description",
        "api",
        offers=(JSON,),
        live=False,
        asks=False,
    ),
    Operation(
        "getReference",
        "/docs",
        show_reference,
        "Reference page",
        "Return this description as a page for people.",
        "Page",
        "api",
        offers=(HTML,),
        live=False,
        asks=False,
    ),
    Operation(
        "getLife",
        "/healthz",
        show_life,
        "Liveness",
        "Check that the gateway is alive. Requires no credentials.",
        "Health",
        "api",
        live=False,
        asks=False,
    ),
    Operation(
        "getReadiness",
        "/readyz",
        show_readiness,
        "Readiness",
        "Check that the gateway can return sessions now: 503 if not. Requires no credentials.",
        "Health",
        "api",
        live=False,
    ),
)
