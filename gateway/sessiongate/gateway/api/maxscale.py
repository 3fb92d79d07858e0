"""The resource of MaxScale itself, as far as MaxScale's clients need it.

maxctrl lists queries only if ``retain_last_statements`` is above 0; it then reads the queries
of every session.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response, not_modified
from sessiongate.gateway.http.work import work
from sessiongate.gateway.jsonapi.collections import self_link, with_fields
from sessiongate.gateway.jsonapi.document import top_meta
from sessiongate.gateway.representation.row import SessionRow
from sessiongate.gateway.upstream.selector import EVERYTHING
from sessiongate.gateway.upstream.version import NO_VERSION
from sessiongate.runtime.turns import Steps


async def show_maxscale(request: ApiRequest) -> Response:
    """Answer ``/v1/maxscale``."""
    retained, version = 1, NO_VERSION
    async with aclosing(request.view.scan(EVERYTHING)) as parts:
        async for rows in parts:
            version = version.and_older(rows.version)
            if not await work(_all_have_queries(rows.sessions)):
                retained = 0
                break
    if response := not_modified(request, version):
        return response
    data = with_fields(request.query, maxscale_resource(retained, request.context.base))
    # MaxScale's clients expect attributes, even if they select none of them.
    data.setdefault("attributes", {})
    document = {
        "links": {"self": self_link(request.query, maxscale_url(request.context.base))},
        "data": data,
    }
    return document_response(request, document | top_meta(version.gaps.meta()), version)


def _all_have_queries(rows: Sequence[SessionRow]) -> Steps[bool]:
    for row in rows:
        yield
        if not _has_queries(row):
            return False
    return True


def _has_queries(row: SessionRow) -> bool:
    session = row.session
    return bool(session.queries) or "queries" in (*session.known_empty, *session.truncated)


def maxscale_url(base: str) -> str:
    """Return the URL of the resource."""
    return f"{base}/v1/maxscale/"


def maxscale_resource(retained: int, base: str) -> dict[str, Any]:
    """Return the resource object; each session has at least ``retained`` statements."""
    return {
        "id": "maxscale",
        "type": "maxscale",
        "attributes": {"parameters": {"retain_last_statements": retained}},
        "links": {"self": maxscale_url(base)},
    }
