"""Every request: under an id, logged, counted, and answered with what browsers must know."""

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
    """Middleware, to be the outermost: what others refuse is seen too.

    Those within get an `ResponseTracker` to send by. An exception is logged here, under the
    request's id, and goes no further; the answer to it was sent, or is cut.
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
        except TransferCutError as error:  # the cause is the core's: no trace leads to it
            failures.warning("an answer is cut short: %s", error)
        except Exception:
            failures.exception("a request failed")
        finally:
            # Of an event stream only how long it took to begin says anything.
            took = (answer.streaming or monotonic()) - answer.began
            if self._metrics is not None:
                self._metrics.answered(scope, answer.status, took)
            if self._access_log:
                _log(scope, answer.status, took)
            current.reset(token)


def _log(scope: Scope, status: int, took: float) -> None:
    """Never the query: it may name who is looked for. A path is not logged at any length."""
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
