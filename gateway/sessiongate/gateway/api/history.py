"""The handlers of history: sessions that have ended, among those that have not."""

from __future__ import annotations

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response
from sessiongate.gateway.api.sessions import requested_id
from sessiongate.gateway.jsonapi.collections import self_link, with_fields
from sessiongate.gateway.representation.past_session import past_session_resource, past_session_url
from sessiongate.gateway.upstream.client import CoreClient


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
