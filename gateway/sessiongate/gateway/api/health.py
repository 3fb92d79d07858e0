"""Whether the gateway lives, and whether it can answer: for those who start and watch it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from sessiongate.gateway.api.request import ApiRequest


async def show_life(request: Request, ask: ApiRequest) -> Response:
    """``/healthz``: 200, or nothing."""
    return ask.document({"meta": {"status": "alive"}}, None)


async def show_readiness(request: Request, ask: ApiRequest) -> Response:
    """``/readyz``: 200 where the view can answer now. Raises `CoreError` where not."""
    await ask.view.check()
    return ask.document({"meta": {"status": "ready"}}, None)
