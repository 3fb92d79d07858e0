"""Liveness and readiness of the gateway, for supervisors and load balancers."""

from __future__ import annotations

from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest
from sessiongate.gateway.api.response import document_response


async def show_life(request: ApiRequest) -> Response:
    """Answer ``/healthz``: 200, or nothing."""
    return document_response(request, {"meta": {"status": "alive"}}, None)


async def show_readiness(request: ApiRequest) -> Response:
    """Answer ``/readyz``: 200 if the view can answer now. Raises `CallError` if not."""
    await request.view.check()
    return document_response(request, {"meta": {"status": "ready"}}, None)
