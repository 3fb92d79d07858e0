"""The handlers of sessions: select rows, write the document, respond."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from starlette.responses import Response

from sessiongate.client.errors import CallError
from sessiongate.gateway.api.document_cache import DocumentCache
from sessiongate.gateway.api.documents import (
    Referred,
    SessionsDocument,
    included_with,
    rendered_resources,
)
from sessiongate.gateway.api.events import stream_sessions
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import (
    body_response,
    bytes_response,
    collect,
    document_response,
    not_modified,
    stream_response,
)
from sessiongate.gateway.api.select import Selection
from sessiongate.gateway.errors import error_of
from sessiongate.gateway.http.in_flight import Body
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi.collections import self_link
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.jsonapi.paging import CursorPage
from sessiongate.gateway.representation.count import counts_url
from sessiongate.gateway.representation.past_session import past_session_url, past_sessions_url
from sessiongate.gateway.representation.row import write_session
from sessiongate.gateway.representation.service import services_url
from sessiongate.gateway.representation.session import (
    api_url,
    service_names,
    session_url,
    sessions_url,
)
from sessiongate.gateway.representation.source import sources_url
from sessiongate.gateway.upstream.selector import EVERYTHING, Selector
from sessiongate.runtime.auth.identity import caller
from sessiongate.runtime.suggestion import shorten
from sessiongate.v1.errors import Reason


async def show_api(request: ApiRequest) -> Response:
    """Answer ``/`` and ``/v1/``: where to go from here; serves as a health check."""
    base = request.context.base
    links = {
        "self": api_url(base),
        "describedby": f"{api_url(base)}openapi.json",
        "sessions": sessions_url(base),
        "services": services_url(base),
        "sources": sources_url(base),
        "counts": f"{counts_url(base)}?by=service",
        "history": past_sessions_url(base),
    }
    meta: dict[str, Any] = {"name": "sessiongate"}
    if request.state.acts:
        identity = caller.get()
        meta["operator"] = identity is None or identity.is_operator
    return document_response(request, {"links": links, "meta": meta}, None)


async def show_session(request: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}``."""
    ident = requested_id(request)
    # Included resources come from all over the table. Its revision is taken first, so
    # that the tag is never newer than the document.
    table = (await request.view.rows(EVERYTHING, 1)).version if request.query.include else None
    try:
        found, version = await request.view.get(ident)
    except CallError as error:
        raise with_history(request, ident, error) from error
    if table is None:
        request.row = found
    else:
        version = table._replace(gaps=table.gaps.union(version.gaps), identity=version.identity)
    if request.preferences.timeless and (response := not_modified(request, version)):
        return response
    if request.preferences.plain and not version.gaps:
        return bytes_response(
            request, write_session(found, request.context.base, request.context.now), version
        )
    url = session_url(request.context.base, found.id)
    [resource] = await rendered_resources(request, [found])
    document: dict[str, Any] = {
        "links": {"self": self_link(request.query, url)},
        "data": resource,
    }
    if request.query.include:
        referred = Referred()
        await work(referred.add((found,)))
        document["included"] = await included_with(request, referred)
    document |= top_meta(version.gaps.meta())
    return document_response(request, document, version if request.preferences.timeless else None)


async def list_sessions(request: ApiRequest) -> Response:
    """Answer ``/v1/sessions/``."""
    return await answer_sessions(request, EVERYTHING, sessions_url(request.context.base))


async def answer_sessions(request: ApiRequest, selector: Selector, url: str) -> Response:
    """Respond with the document of the sessions that match, or a stream of events about them."""
    if request.preferences.media_type == EVENT_STREAM:
        return await stream_sessions(request, selector)
    if response := _known_response(request):
        return response
    selection = Selection(request, selector)
    if not selection.is_large:
        return await _new_response(request, selection, url)
    async with request.in_flight.making() as has_waited:
        # The same may have been requested, and made, while this one waited.
        response = _known_response(request) if has_waited else None
        return response or await _new_response(request, selection, url)


def _known_response(request: ApiRequest) -> Response | None:
    """Return 304 or a cached document, if the sessions have not changed since."""
    version = request.view.version() if request.preferences.timeless else None
    if version is None:
        return None
    cache: DocumentCache = request.state.documents
    body = cache.get(request, version)
    if body is None and isinstance(request.query.page, CursorPage):
        return None  # its cursor may be invalid
    if response := not_modified(request, version):
        return response
    return None if body is None else body_response(request, body, version)


async def _new_response(request: ApiRequest, selection: Selection, url: str) -> Response:
    """Make the document. Its first part is fetched before the status is sent."""
    rows = await selection.rows()
    version = rows.first.version if request.preferences.timeless else None
    if version is not None and (response := not_modified(request, version)):
        return response
    cache: DocumentCache = request.state.documents
    document = SessionsDocument(request, rows, url)
    size = document.size
    is_made = cache.has(request, version)
    is_whole = rows.rest is None or (rows.first.held and (is_made or cache.room_for(size)))
    if not is_whole:
        charge = await request.in_flight.take(document.part_size)
        return stream_response(request, document.parts(), version, charge)

    # Before others run: they would count on the same room.
    room = None if is_made else request.in_flight.take_free(size)

    async def whole() -> Body:
        return await collect(request, document.parts(), room or await request.in_flight.take(size))

    if version is None:
        return body_response(request, await whole(), None)
    return body_response(request, await cache.make(request, version, whole), version)


async def show_linkage(request: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}/relationships/services``."""
    found, version = await request.view.get(requested_id(request))
    request.row = found
    if response := not_modified(request, version):
        return response
    url = session_url(request.context.base, found.id)
    document = {
        "links": {"self": f"{url}/relationships/services", "related": f"{url}/services"},
        "data": [{"id": name, "type": "services"} for name in service_names(found.session)],
    }
    return document_response(request, document | top_meta(version.gaps.meta()), version)


def with_history(request: ApiRequest, ident: int, error: CallError) -> Exception:
    """Return an error that links to the session's history, if it may have ended.

    Whether history knows it is not asked: clients poll sessions until they end, and each 404
    would read the ledger. The link answers that to those who follow it.
    """
    if error.reason != Reason.SESSION_NOT_FOUND:
        return error
    about = past_session_url(request.context.base, ident)
    return RequestError(replace(error_of(error), about=about))


def requested_id(request: ApiRequest) -> int:
    """Return the session's id from the path. Raises `RequestError`."""
    text = unquote(request.path_id)
    found = parse_id(text)
    if found is None:
        raise RequestError(
            Error(404, Reason.SESSION_NOT_FOUND, f"no session with id {shorten(text)}")
        )
    return found
