"""The handlers of history: sessions that have ended, among those that have not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from sessiongate.gateway.api.past_select import PastSelection
from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import bytes_response, document_response
from sessiongate.gateway.api.sessions import requested_id
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi import paging
from sessiongate.gateway.jsonapi.collections import self_link, with_fields
from sessiongate.gateway.jsonapi.document import CollectionWriter
from sessiongate.gateway.jsonapi.query import QueryParameters
from sessiongate.gateway.representation.past_session import (
    gap_meta,
    past_session_resource,
    past_session_url,
    past_sessions_url,
)
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.turns import Steps


async def list_past_sessions(request: ApiRequest) -> Response:
    """Answer ``/v1/history/sessions``."""
    selection = PastSelection(request)
    query = selection.query
    writer = CollectionWriter(pretty=query.pretty)
    written = []
    async with aclosing(selection.parts()) as parts:
        async for resources in parts:
            written.append(await work(_written(writer, query, resources)))
    url = past_sessions_url(request.context.base)
    links = paging.forward_links(url, query.parameters, after=selection.following)
    meta = {"gaps": [gap_meta(gap) for gap in selection.gaps]}
    body = (writer.opening({"links": links}), *written, writer.closing({"meta": meta}))
    return bytes_response(request, b"".join(body), None)


def _written(
    writer: CollectionWriter, query: QueryParameters, resources: Iterable[dict[str, Any]]
) -> Steps[bytes]:
    items = []
    for resource in resources:
        items.append(writer.items((with_fields(query, resource),)))
        yield
    return b"".join(items)


async def show_past_session(request: ApiRequest) -> Response:
    """Answer ``/v1/history/sessions/{id}``."""
    core: CoreClient = request.state.core
    past = await core.get_past_session(requested_id(request))
    base = request.context.base
    document = {
        "links": {"self": self_link(request.query, past_session_url(base, past.session.id))},
        "data": with_fields(request.query, past_session_resource(past, base)),
    }
    return document_response(request, document, None)
