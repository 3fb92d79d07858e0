"""Whether the gateway lives, and whether it can answer: for those who start and watch it."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.jsonapi.document import MEDIA_TYPE, dump
from gateway.operation import ALLOW, METHODS
from gateway.sessions import SessionView


async def show_life(request: Request) -> Response:
    """``/healthz``: 200, or nothing."""
    return _status(request, "alive")


async def show_readiness(request: Request) -> Response:
    """``/readyz``: 200 where the view can answer now. Raises `CoreError` where not."""
    view: SessionView = request.app.state.view
    await view.check()
    return _status(request, "ready")


def _status(request: Request, word: str) -> Response:
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=ALLOW)
    return Response(
        dump({"meta": {"status": word}}, pretty=False),
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store"},
    )


HEALTH = [
    Route("/healthz", show_life, methods=[*METHODS]),
    Route("/readyz", show_readiness, methods=[*METHODS]),
]
