"""The handlers of services, which are derived from the sessions on them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response, not_modified
from sessiongate.gateway.api.sessions import answer_sessions, requested_id
from sessiongate.gateway.jsonapi import collections
from sessiongate.gateway.jsonapi.collections import self_link, with_fields
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.representation.service import (
    Service,
    service_resource,
    service_url,
    services_of,
    services_url,
)
from sessiongate.gateway.representation.session import session_url
from sessiongate.gateway.upstream.selector import Selector
from sessiongate.gateway.upstream.version import Version
from sessiongate.runtime.suggestion import shorten


async def list_services(request: ApiRequest) -> Response:
    """Answer ``/v1/services/``."""
    services, version = await services_of(request.view)
    return _collection(request, services.values(), version, services_url(request.context.base))


async def show_service(request: ApiRequest) -> Response:
    """Answer ``/v1/services/{id}``."""
    name = _name(request)
    services, version = await services_of(request.view, frozenset((name,)))
    if name not in services:
        raise _not_found(name)
    if response := not_modified(request, version):
        return response
    url = service_url(request.context.base, name)
    document = {
        "links": {"self": self_link(request.query, url)},
        "data": with_fields(request.query, service_resource(services[name], request.context.base)),
    }
    return document_response(request, document | top_meta(version.gaps.meta()), version)


async def list_sessions_of_service(request: ApiRequest) -> Response:
    """Answer ``/v1/services/{id}/sessions``. A watcher may wait for the first session."""
    name = _name(request)
    selector = Selector(services=frozenset((name,)))
    is_watched = request.preferences.media_type == EVENT_STREAM
    if not is_watched and not (await request.view.rows(selector, 1)).total:
        raise _not_found(name)
    url = f"{service_url(request.context.base, name)}/sessions"
    return await answer_sessions(request, selector, url)


async def list_services_of_session(request: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}/services``: the service that it is on."""
    found, _ = await request.view.get(requested_id(request))
    services, version = await services_of(request.view, frozenset((found.service,)))
    url = f"{session_url(request.context.base, found.id)}/services"
    return _collection(request, services.values(), version, url)


def _collection(
    request: ApiRequest, services: Iterable[Service], version: Version, url: str
) -> Response:
    resources = [service_resource(service, request.context.base) for service in services]
    data, position = collections.paginate(resources, request.query)
    if response := not_modified(request, version):
        return response
    members = collections.meta(request.query, position) | version.gaps.meta()
    document = {
        "links": collections.links(request.query, url, position),
        "data": data,
        **top_meta(members),
    }
    return document_response(request, document, version)


def _name(request: ApiRequest) -> str:
    """Return the service's name, percent-encoded in the path. Raises `RequestError`."""
    try:
        return unquote(request.path_id, errors="strict")
    except UnicodeDecodeError:
        raise _not_found(request.path_id) from None


def _not_found(name: str) -> RequestError:
    return RequestError(Error(404, "SERVICE_NOT_FOUND", f"no service with id {shorten(name)}"))
