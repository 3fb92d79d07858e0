"""The gateway as an ASGI application: routes, middleware, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.client import CoreClient, CoreError
from gateway.config import GatewayConfig
from gateway.endpoints import list_sessions, show_api, show_session
from gateway.errors import RETRY_AFTER, error_of
from gateway.hosts import KnownHosts
from gateway.jsonapi.errors import Error, RequestError, errors_response
from gateway.sessions import DirectView


def create_app(config: GatewayConfig) -> Starlette:
    """A gateway in front of ``config.core``. Its lifespan opens and closes the channel.

    Every error that it answers with is a JSON:API document. What it does not
    expect it raises on, for the server to log, once a fixed text is sent.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        client = CoreClient(config.core, config.core_timeout)
        app.state.view = DirectView(client)
        try:
            yield
        finally:
            await client.close()

    app = Starlette(
        routes=[
            Route("/", show_api),
            *_both("/v1", show_api),
            *_both("/v1/sessions", list_sessions),
            *_both("/v1/sessions/{id}", show_session),
        ],
        middleware=[Middleware(KnownHosts, config)],
        exception_handlers={
            RequestError: _request_error,
            CoreError: _core_error,
            HTTPException: _http_error,
            Exception: _unexpected,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # both forms of every path are routed
    return app


def _both(path: str, endpoint: object) -> list[Route]:
    return [Route(path, endpoint), Route(path + "/", endpoint)]  # type: ignore[arg-type]


async def _request_error(request: Request, error: Exception) -> Response:
    return errors_response(cast(RequestError, error).errors)


async def _core_error(request: Request, failure: Exception) -> Response:
    error = error_of(cast(CoreError, failure))
    return errors_response([error], RETRY_AFTER if error.status == 503 else None)


async def _http_error(request: Request, raised: Exception) -> Response:
    """What the router raises: 404 for a path, 405 with ``Allow`` for a method."""
    error = cast(HTTPException, raised)
    details = {
        404: f"{request.url.path} is not a resource",
        405: f"{request.method} is not allowed here",
    }
    status = HTTPStatus(error.status_code)
    detail = details.get(status, error.detail)
    return errors_response([Error(status, status.name, detail)], error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    # Starlette raises the error again: the server logs it.
    detail = "the gateway failed to answer; its log has the cause"
    return errors_response([Error(500, "INTERNAL", detail)])
