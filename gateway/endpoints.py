"""The handlers: read the request, ask the view, write the document."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.client import CoreError
from gateway.jsonapi.document import MEDIA_TYPE, CollectionWriter, dump
from gateway.jsonapi.errors import Error, RequestError
from gateway.jsonapi.query import Query
from gateway.resources import (
    api_url,
    session_resource,
    session_url,
    sessions_url,
    unreachable_meta,
)
from gateway.sessions import SessionView
from sessiongate.v1.session_service_pb2 import ListSessionsResponse

log = logging.getLogger(__name__)

MAX_ID = 2**64 - 1

_ID = re.compile(r"0*([1-9][0-9]{0,19})", re.ASCII)


class TransferCutError(Exception):
    """The rest of a document cannot be had; its beginning is sent."""


class StreamedDocument(StreamingResponse):
    """An answer in pieces, left unfinished where `TransferCutError` ends them.

    The server then cuts the transfer, so that no client takes a part for the whole.
    """

    media_type = MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except TransferCutError as error:
            log.warning("transfer cut: %s", error)


async def show_api(request: Request) -> Response:
    """``/`` and ``/v1/``: where to go from here; serves as a health check."""
    query = Query.parse(request.scope["query_string"])
    base: str = request.state.base_url
    links = {"self": api_url(base), "sessions": sessions_url(base)}
    return _whole(dump({"links": links, "meta": {"name": "sessiongate"}}, pretty=query.pretty))


async def show_session(request: Request) -> Response:
    """``/v1/sessions/{id}``."""
    query = Query.parse(request.scope["query_string"])
    base: str = request.state.base_url
    found = await _view(request).get(_session_id(request.path_params["id"]))
    document = {
        "links": {"self": session_url(base, found.session.id)},
        "data": session_resource(found.session, base, time.time()),
        **unreachable_meta(found.unreachable),
    }
    return _whole(dump(document, pretty=query.pretty))


async def list_sessions(request: Request) -> Response:
    """``/v1/sessions/``. The first page is here before the status is sent."""
    query = Query.parse(request.scope["query_string"])
    pages = _view(request).pages()
    first = await anext(pages)
    body = _collection(first, pages, request.state.base_url, query)
    if not first.next_page_token:
        return _whole(b"".join([piece async for piece in body]))
    if request.method == "HEAD":
        await pages.aclose()
        body = _nothing()
    return StreamedDocument(body)


async def _collection(
    first: ListSessionsResponse,
    rest: AsyncGenerator[ListSessionsResponse],
    base: str,
    query: Query,
) -> AsyncIterator[bytes]:
    """The document, page by page. Ends with `TransferCutError` where a page cannot be had."""
    writer = CollectionWriter(pretty=query.pretty)
    unreachable: dict[str, None] = {}

    def written(page: ListSessionsResponse) -> bytes:
        unreachable.update(dict.fromkeys(page.unreachable))
        now = time.time()
        return writer.items(session_resource(session, base, now) for session in page.sessions)

    async with aclosing(rest):
        yield writer.opening({"links": {"self": sessions_url(base)}})
        yield written(first)
        try:
            async for page in rest:
                yield written(page)
        except CoreError as error:
            raise TransferCutError(f"the core failed between two pages: {error}") from None
        yield writer.closing(unreachable_meta(unreachable))


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


def _whole(document: bytes) -> Response:
    return Response(document, media_type=MEDIA_TYPE)


def _view(request: Request) -> SessionView:
    view: SessionView = request.app.state.view
    return view


def _session_id(text: str) -> int:
    """A session's id as it stands in a path. Raises `RequestError`."""
    found = _ID.fullmatch(text)
    if found is None or int(found[1]) > MAX_ID:
        raise RequestError(Error(404, "SESSION_NOT_FOUND", f"{text} is not a session"))
    return int(found[1])
