"""The gateway as an ASGI application: routes, middleware, lifespan."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from sessiongate.client.cores import Cores
from sessiongate.client.errors import CallError
from sessiongate.gateway.api.document_cache import DocumentCache
from sessiongate.gateway.api.events import Events
from sessiongate.gateway.api.host_names import HostNames, LookUp, by_dns
from sessiongate.gateway.api.operation import Operation
from sessiongate.gateway.api.operations import OPERATIONS
from sessiongate.gateway.api.path import REFUSED, ApiPath, by_path
from sessiongate.gateway.errors import RETRY_AFTER, error_of, headers_of
from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.authentication import AuthenticationMiddleware
from sessiongate.gateway.http.cross_origin import CrossOrigin
from sessiongate.gateway.http.fast_path import FastPath
from sessiongate.gateway.http.forwarded import Forwarded
from sessiongate.gateway.http.in_flight import InFlight
from sessiongate.gateway.http.metrics import GatewayMetrics
from sessiongate.gateway.http.normalize_path import NormalizePath, nearest_path
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.http.response_cache import ResponseCache
from sessiongate.gateway.http.take_turns import TakeTurns
from sessiongate.gateway.http.trusted_hosts import TrustedHosts
from sessiongate.gateway.jsonapi.errors import Error, RequestError, errors_response
from sessiongate.gateway.openapi.endpoints import Written
from sessiongate.gateway.settings import GatewayConfig
from sessiongate.gateway.shutdown import Shutdown
from sessiongate.gateway.ui.page import PageMiddleware
from sessiongate.gateway.upstream.client import EVENTS_AHEAD, CoreClient
from sessiongate.gateway.upstream.ledgers import LedgerCheck
from sessiongate.gateway.upstream.replica import Replica
from sessiongate.gateway.upstream.views import DirectView, ReplicaView, SessionView
from sessiongate.runtime.auth.authenticator import Authenticator
from sessiongate.runtime.background import in_background
from sessiongate.runtime.elapsed import elapsed
from sessiongate.runtime.rate_limited_log import RateLimitedLog
from sessiongate.runtime.suggestion import as_question, shorten
from sessiongate.runtime.telemetry.tracing import open_spans

log = logging.getLogger(__name__)


def create_app(
    config: GatewayConfig, look_up: LookUp = by_dns, cores: Cores | None = None
) -> Starlette:
    """Create a gateway in front of a core; its lifespan opens and closes the channel.

    ``look_up`` finds the names of addresses; it is called in threads. ``cores`` are those of the
    configuration, if others call them too.

    Every error response is a JSON:API document; for unexpected errors, its text is
    fixed. Raises `FileError` if a file for checking callers' credentials cannot be used.
    """
    stopping = Shutdown()
    metrics = None if config.metrics is None else GatewayMetrics()
    operations = [operation.within(config.limits.query) for operation in _operations(config)]
    credentials = config.protection.credentials()
    authenticator = Authenticator(credentials)

    called = cores or Cores.drawn(config.core_addresses)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        limited_log = RateLimitedLog(log)  # while all are away, each request goes round
        called.on_change(
            lambda: limited_log.warn(f"a core was lost; now calling the one at {called.address}")
        )
        connect_to = partial(
            CoreClient,
            timeout=config.core_timeout,
            tls=config.core_tls,
            token_file=config.core_token_path,
            open_to_all=config.protection.insecure_actions,
        )
        connect = partial(connect_to, called, observe=None if metrics is None else metrics.called)
        staleness = config.replica_staleness if config.replica else 0.0
        client, watching = connect(), connect(ahead=EVENTS_AHEAD)
        app.state.description = Written(operations, ui=config.ui)
        app.state.limits = config.limits
        app.state.acts = config.has_operators
        app.state.core = client
        app.state.in_flight = InFlight(config.limits.max_in_flight, admission.resting)
        app.state.documents = DocumentCache(app.state.in_flight)
        app.state.host_names = names = HostNames(look_up)
        app.state.events = Events(watching.watch_sessions, stopping, called)
        checking: asyncio.Task[None] | None = None
        sampling = nullcontext() if metrics is None else metrics.lag.sampling()
        try:
            async with (
                admission.watching(),
                open_view(client, staleness, metrics) as view,
            ):
                app.state.view = view
                if len(config.core_addresses) > 1:
                    found = {} if metrics is None else {"found": metrics.found_ledgers}
                    check = LedgerCheck(config.core_addresses, connect_to, **found)
                    checking = in_background(check.run, "looking at the cores' ledgers")
                with sampling:
                    yield
        finally:
            if checking is not None:
                checking.cancel()
            await client.close()
            await watching.close()
            authenticator.close()
            names.close()
            if metrics is not None:
                metrics.write()
            if spans is not None:
                spans.close()

    app = Starlette(
        routes=[path.route() for path in (*by_path(operations), *REFUSED)],
        lifespan=lifespan,
    )
    app.state.stopping = stopping  # the server begins it
    app.router.redirect_slashes = False  # slashes that `NormalizePath` keeps mean 404
    # Not the stack that Starlette builds: `Admission` answers unexpected errors.
    inner: ASGIApp
    inner = cache = ResponseCache(TakeTurns(ExceptionMiddleware(app.router, _HANDLERS)))
    authentication = forwarded = cross_origin = None
    if credentials.wanted:
        certified = not authenticator.challenges
        inner = authentication = AuthenticationMiddleware(inner, authenticator, certified=certified)
    inner = path = NormalizePath(inner)
    if config.ui:
        inner = PageMiddleware(inner)
    hosts = TrustedHosts(inner, config)
    request_log = RequestLog(access_log=config.logs.access_log, metrics=metrics)
    app.middleware_stack = admission = Admission(hosts, config.limits, request_log, metrics)
    spans = open_spans("gateway")
    if spans is not None:
        from sessiongate.gateway.http.request_spans import RequestSpans

        app.middleware_stack = RequestSpans(admission, spans)
    if config.trusted_proxies:
        app.middleware_stack = forwarded = Forwarded(app.middleware_stack, config.trusted_proxies)
    if config.allowed_origin:
        app.middleware_stack = cross_origin = CrossOrigin(
            app.middleware_stack, config.allowed_origin
        )
    if spans is None:
        # The server asks it for each request before it starts a task.
        app.state.fast_path = FastPath(
            cross_origin, forwarded, admission, hosts, path, authentication, cache, request_log
        )
    return app


def _operations(config: GatewayConfig) -> tuple[Operation, ...]:
    """Return the operations of a gateway: those that act only if somebody may use them."""
    if not config.has_operators:
        return OPERATIONS
    from sessiongate.gateway.api.action_operations import ACTIONS

    return (*OPERATIONS, *ACTIONS)


@asynccontextmanager
async def open_view(
    client: CoreClient, staleness: float, metrics: GatewayMetrics | None = None
) -> AsyncIterator[SessionView]:
    """Open a view of the core's sessions, with a replica unless ``staleness`` is 0."""
    direct = DirectView(client)
    if not staleness:
        yield direct
        return
    replica = Replica(client.watch_sessions, staleness=staleness, clock=elapsed, cores=client.cores)
    tasks = [asyncio.create_task(replica.run())]
    if metrics is not None:
        tasks.append(in_background(partial(metrics.follow, replica), "measuring the copy"))
    try:
        yield ReplicaView(replica, direct)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request_error(request: Request, error: Exception) -> Response:
    errors = cast(RequestError, error).errors
    return errors_response(errors, RETRY_AFTER if errors[0].status == 503 else None)


async def _core_error(request: Request, failure: Exception) -> Response:
    error = error_of(cast(CallError, failure))
    return errors_response([error], headers_of(cast(CallError, failure), error.status))


async def _http_error(request: Request, raised: Exception) -> Response:
    """Return the response to the router's errors: 404 for a path, 405 for a method."""
    error = cast(HTTPException, raised)
    path = request.scope["raw_path"].decode("latin-1")
    status, detail, headers = HTTPStatus(error.status_code), error.detail, error.headers
    if status == 404:
        # A caller that gets this far may read the description, which has all paths.
        paths = (cast(ApiPath, route.endpoint) for route in request.app.routes)
        known = [path.path for path in paths if path.operations]
        detail = f"no resource at {shorten(path)}{as_question(nearest_path(path, known))}"
    elif status == 405:
        allowed = cast(ApiPath, request.scope["endpoint"]).allow
        detail = f"{request.method} is not allowed; allowed are {allowed}"
        headers = {"Allow": allowed}
    return errors_response([Error(status, status.name, detail)], headers)


_HANDLERS = {
    RequestError: _request_error,
    CallError: _core_error,
    HTTPException: _http_error,
}
