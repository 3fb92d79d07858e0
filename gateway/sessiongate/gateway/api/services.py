"""The handlers of services, which are derived from the sessions on them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.sessions import answer_list, requested_id
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
from sessiongate.gateway.upstream.views import EVERYTHING, Selector, Version
from sessiongate.runtime.suggestion import shorten


async def list_services(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/services/``."""
    services, version = await services_of(ask.view, EVERYTHING)
    return _collection(ask, services.values(), version, services_url(ask.moment.base))


async def show_service(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/services/{id}``."""
    name = _name(request)
    services, version = await services_of(ask.view, _on(name))
    if name not in services:
        raise _not_found(name)
    if response := ask.not_modified(version):
        return response
    url = service_url(ask.moment.base, name)
    document = {
        "links": {"self": self_link(ask.query, url)},
        "data": with_fields(ask.query, service_resource(services[name], ask.moment.base)),
    }
    return ask.document(document | top_meta(version.gaps.meta()), version)


async def list_sessions_of_service(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/services/{id}/sessions``. A watcher may wait for the first session."""
    name = _name(request)
    watched = ask.wish.media_type == EVENT_STREAM
    if not watched and not (await ask.view.rows(_on(name), 1)).total:
        raise _not_found(name)
    return await answer_list(
        request, ask, _on(name), f"{service_url(ask.moment.base, name)}/sessions"
    )


async def list_services_of_session(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}/services``: the service that it is on."""
    found, _ = await ask.view.get(requested_id(request))
    services, version = await services_of(ask.view, _on(found.service))
    url = f"{session_url(ask.moment.base, found.id)}/services"
    return _collection(ask, services.values(), version, url)


def _collection(
    ask: ApiRequest, services: Iterable[Service], version: Version, url: str
) -> Response:
    resources = [service_resource(service, ask.moment.base) for service in services]
    data, place = collections.paginate(resources, ask.query)
    if response := ask.not_modified(version):
        return response
    members = collections.meta(ask.query, place) | version.gaps.meta()
    document = {
        "links": collections.links(ask.query, url, place),
        "data": data,
        **top_meta(members),
    }
    return ask.document(document, version)


def _on(name: str) -> Selector:
    return Selector(services=frozenset((name,)))


def _name(request: Request) -> str:
    """Return the service's name, percent-encoded in the path. Raises `RequestError`."""
    text: str = request.path_params["id"]
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _not_found(text) from None


def _not_found(name: str) -> RequestError:
    return RequestError(Error(404, "SERVICE_NOT_FOUND", f"no service with id {shorten(name)}"))
