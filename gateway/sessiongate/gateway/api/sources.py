"""The handlers of sources. They respond even before the core is ready, and show why it is not."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response
from sessiongate.gateway.jsonapi import collections
from sessiongate.gateway.jsonapi.collections import self_link, with_fields
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.jsonapi.errors import Error, RequestError
from sessiongate.gateway.representation.source import (
    source_resource,
    source_resources,
    source_url,
    sources_url,
)
from sessiongate.gateway.upstream.client import CoreClient
from sessiongate.runtime.suggestion import shorten


async def list_sources(request: ApiRequest) -> Response:
    """Answer ``/v1/sources/``."""
    core: CoreClient = request.state.core
    base = request.context.base
    data, position = collections.paginate(
        source_resources(await core.list_sources(), base), request.query
    )
    document = {
        "links": collections.links(request.query, sources_url(base), position),
        "data": data,
        **top_meta(collections.meta(request.query, position)),
    }
    return document_response(request, document, None)


async def show_source(request: ApiRequest) -> Response:
    """Answer ``/v1/sources/{id}``."""
    core: CoreClient = request.state.core
    base, name = request.context.base, unquote(request.path_id)
    for source in await core.list_sources():
        if source.name == name:
            document = {
                "links": {"self": self_link(request.query, source_url(base, name))},
                "data": with_fields(request.query, source_resource(source, base)),
            }
            return document_response(request, document, None)
    raise RequestError(Error(404, "SOURCE_NOT_FOUND", f"no source with id {shorten(name)}"))
