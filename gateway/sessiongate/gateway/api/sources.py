"""The handlers of sources. They also answer before the core is ready, and show why it is not."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
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


async def list_sources(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sources/``."""
    core: CoreClient = request.app.state.core
    base = ask.moment.base
    data, place = collections.paginate(source_resources(await core.list_sources(), base), ask.query)
    document = {
        "links": collections.links(ask.query, sources_url(base), place),
        "data": data,
        **top_meta(collections.meta(ask.query, place)),
    }
    return ask.document(document, None)


async def show_source(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/v1/sources/{id}``."""
    core: CoreClient = request.app.state.core
    base, name = ask.moment.base, unquote(request.path_params["id"])
    for source in await core.list_sources():
        if source.name == name:
            document = {
                "links": {"self": self_link(ask.query, source_url(base, name))},
                "data": with_fields(ask.query, source_resource(source, base)),
            }
            return ask.document(document, None)
    raise RequestError(Error(404, "SOURCE_NOT_FOUND", f"no source with id {shorten(name)}"))
