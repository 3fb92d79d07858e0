"""Gives every request an id, logs and counts it, and adds what browsers must know."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from sessiongate.gateway.api.documents import TransferCutError
from sessiongate.gateway.http.metrics import GatewayMetrics
from sessiongate.gateway.http.response_tracker import ResponseTracker
from sessiongate.runtime.telemetry.correlation import current, from_headers
from sessiongate.runtime.telemetry.logs import fields

log = logging.getLogger("gateway.access")
failures = logging.getLogger(__name__)

_LONGEST_PATH = 1024  # bytes; longer ones are cut in the log


class RequestLog:
    """Middleware, to be the outermost: it also sees what others refuse.

    Inner applications send through a `ResponseTracker`. An exception is logged here, under
    the request's id, and goes no further; its answer was sent already, or is cut off.
    """

    def __init__(
        self, app: ASGIApp, *, access_log: bool = False, metrics: GatewayMetrics | None = None
    ) -> None:
        self._app = app
        self._access_log = access_log
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation = from_headers(scope["headers"])
        token = current.set(correlation)
        answer = ResponseTracker(send, correlation.request_id, head=scope["method"] == "HEAD")
        try:
            await self._app(scope, receive, answer)
        except TransferCutError as error:  # the core is the cause: no trace leads to it
            failures.warning("an answer is cut short: %s", error)
        except Exception:
            failures.exception("a request failed")
        finally:
            # For an event stream, only the time that it took to begin is meaningful.
            took = (answer.streaming or monotonic()) - answer.began
            if self._metrics is not None:
                self._metrics.answered(scope, answer.status, took)
            if self._access_log:
                _log(scope, answer.status, took)
            current.reset(token)


def _log(scope: Scope, status: int, took: float) -> None:
    """Log a request, never its query: it may name who is looked for. Long paths are cut."""
    client: Any = scope.get("client")
    path = scope["raw_path"][:_LONGEST_PATH].decode("latin-1")
    more = fields(
        method=scope["method"],
        path=path,
        status=status,
        seconds=round(took, 6),
        client=client[0] if client else "",
        user=scope.get("user", ""),
    )
    log.info("%s %s %d", scope["method"], path, status, extra=more)
