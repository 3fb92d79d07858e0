"""The handlers of sessions: read the request, ask the view, write the document."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.gateway.api.document_cache import DocumentCache
from sessiongate.gateway.api.documents import (
    estimated_size,
    included_with,
    part_size,
    rendered_resources,
    write_sessions,
)
from sessiongate.gateway.api.events import stream_sessions
from sessiongate.gateway.api.request import OFFERS, ApiRequest
from sessiongate.gateway.api.select import Selection, is_large, select
from sessiongate.gateway.http.in_flight import Body
from sessiongate.gateway.jsonapi.collections import self_link
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.jsonapi.eventstream import EVENT_STREAM
from sessiongate.gateway.jsonapi.ids import parse_id
from sessiongate.gateway.jsonapi.paging import CursorPage
from sessiongate.gateway.representation.row import write_session
from sessiongate.gateway.representation.service import services_url
from sessiongate.gateway.representation.session import (
    api_url,
    service_names,
    session_url,
    sessions_url,
)
from sessiongate.gateway.representation.source import sources_url
from sessiongate.gateway.upstream.views import EVERYTHING, Selector
from sessiongate.runtime.suggestion import shorten

# For collections of sessions, which may be watched.
STREAMED_OFFERS = (*OFFERS, EVENT_STREAM)


async def show_api(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/`` and ``/v1/``: where to go from here; serves as a health check."""
    base = ask.moment.base
    links = {
        "self": api_url(base),
        "describedby": f"{api_url(base)}openapi.json",
        "sessions": sessions_url(base),
        "services": services_url(base),
        "sources": sources_url(base),
    }
    return ask.document({"links": links, "meta": {"name": "sessiongate"}}, None)


async def show_session(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}``."""
    ident = requested_id(request)
    # Included resources come from all over the table. Its revision is taken first, so
    # that the tag is never newer than the document.
    table = (await ask.view.rows(EVERYTHING, 1)).version if ask.query.include else None
    found, version = await ask.view.get(ident)
    if table is not None:
        version = version.and_older(table)._replace(revision=table.revision)
    if ask.timeless and (response := ask.not_modified(version)):
        return response
    if ask.wish.plain and not version.gaps:
        return ask.whole(write_session(found, ask.moment.base, ask.moment.now), version)
    url = session_url(ask.moment.base, found.id)
    [resource] = await rendered_resources(ask, [found])
    document: dict[str, Any] = {
        "links": {"self": self_link(ask.query, url)},
        "data": resource,
    }
    if ask.query.include:
        document["included"] = await included_with(ask, [found.session])
    document |= top_meta(version.gaps.meta())
    return ask.document(document, version if ask.timeless else None)


async def list_sessions(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sessions/``. The first part is fetched before the status is sent."""
    return await answer_list(request, ask, EVERYTHING, sessions_url(ask.moment.base))


async def answer_list(request: Request, ask: ApiRequest, wanted: Selector, url: str) -> Response:
    """Answer with the document of the wanted sessions, or a stream of events about them."""
    if ask.wish.media_type == EVENT_STREAM:
        return await stream_sessions(request, ask, wanted)
    answers: DocumentCache = request.app.state.answers
    version = ask.view.version() if ask.timeless else None
    if version is not None and not isinstance(ask.query.page, CursorPage):  # may be invalid
        if response := ask.not_modified(version):
            return response
        if (body := answers.get(ask, version)) is not None:
            return ask.shared(body, version)
    if not is_large(ask.query):
        return await _make_list(request, ask, wanted, url)
    async with ask.in_flight.making():
        # Others that asked the same may have been answered meanwhile.
        version = ask.view.version() if ask.timeless else None
        if version is not None and (body := answers.get(ask, version)) is not None:
            return ask.shared(body, version)
        return await _make_list(request, ask, wanted, url)


async def _make_list(request: Request, ask: ApiRequest, wanted: Selector, url: str) -> Response:
    answers: DocumentCache = request.app.state.answers
    selected = await select(ask.view, ask.query, wanted, ask.moment)
    await _check_size(request, ask, selected)
    version = selected.first.version if ask.timeless else None
    if version is not None and (response := ask.not_modified(version)):
        return response
    size = estimated_size(ask, selected)
    is_whole = selected.rest is None or (selected.first.held and answers.room_for(size))
    charge = await ask.in_flight.take(size if is_whole else part_size(size, selected))
    if not is_whole:
        return ask.streamed(write_sessions(ask, selected, url), version, charge)

    async def whole() -> Body:
        return await ask.body(write_sessions(ask, selected, url), charge)

    if version is None:
        return ask.shared(await whole(), None)
    body = answers.get(ask, version)
    if body is None:
        body = await answers.make(ask, version, whole)
    return ask.shared(body, version)


async def _check_size(request: Request, ask: ApiRequest, selected: Selection) -> None:
    """Raise `RequestError` if more is asked for at once than allowed."""
    limit = request.app.state.limits.max_answer
    if ask.query.page is None and not ask.query.filters and selected.first.total > limit:
        if selected.rest is not None:
            await selected.rest.aclose()
        detail = f"{selected.first.total} sessions are more than the {limit} that max_answer allows"
        detail += " at once; ask for pages, with page[size]"
        raise RequestError(Error(400, "ANSWER_TOO_LARGE", detail, parameter="page[size]"))


async def show_linkage(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sessions/{id}/relationships/services``."""
    found, version = await ask.view.get(requested_id(request))
    if response := ask.not_modified(version):
        return response
    url = session_url(ask.moment.base, found.id)
    document = {
        "links": {"self": f"{url}/relationships/services", "related": f"{url}/services"},
        "data": [{"id": name, "type": "services"} for name in service_names(found.session)],
    }
    return ask.document(document | top_meta(version.gaps.meta()), version)


def requested_id(request: Request) -> int:
    """Return the session's id from the path. Raises `RequestError`."""
    text = unquote(request.path_params["id"])
    found = parse_id(text)
    if found is None:
        raise RequestError(Error(404, "SESSION_NOT_FOUND", f"no session with id {shorten(text)}"))
    return found
