"""Liveness and readiness of the gateway, for supervisors and load balancers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest


async def show_life(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/healthz``: 200, or nothing."""
    return ask.document({"meta": {"status": "alive"}}, None)


async def show_readiness(request: Request, ask: ApiRequest) -> Response:
    """Answer ``/readyz``: 200 if the view can answer now. Raises `CallError` if not."""
    await ask.view.check()
    return ask.document({"meta": {"status": "ready"}}, None)
