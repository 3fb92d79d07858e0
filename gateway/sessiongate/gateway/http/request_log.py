"""The log of requests, one line for each, and of those that failed."""

from __future__ import annotations

import logging
from typing import Any

from starlette.types import Scope

from sessiongate.gateway.http.metrics import GatewayMetrics
from sessiongate.gateway.jsonapi.transfer import TransferCutError
from sessiongate.runtime.telemetry.correlation import Correlation, current
from sessiongate.runtime.telemetry.logs import fields

log = logging.getLogger("gateway.access")
failures = logging.getLogger(__name__)

_LONGEST_PATH = 1024  # bytes; longer ones are cut in the log


class RequestLog:
    """Logs and counts requests; an exception is logged under the request's id."""

    def __init__(self, *, access_log: bool = False, metrics: GatewayMetrics | None = None) -> None:
        self._access_log = access_log
        self._metrics = metrics

    def failed(self, error: Exception) -> None:
        """Log what ended a request; call it while the exception is handled."""
        if isinstance(error, TransferCutError):  # the core is the cause: no trace leads to it
            failures.warning("an answer is cut short: %s", error)
        else:
            failures.exception("a request failed")

    def ended(self, scope: Scope, status: int, seconds: float, correlation: Correlation) -> None:
        """Log and count a request."""
        if self._metrics is not None:
            self._metrics.answered(scope, status, seconds)
        if self._access_log:
            token = current.set(correlation)
            _log(scope, status, seconds)
            current.reset(token)


def _log(scope: Scope, status: int, seconds: float) -> None:
    """Log a request, never its query: it may name who is looked for. Long paths are cut."""
    client: Any = scope.get("client")
    path = scope["raw_path"][:_LONGEST_PATH].decode("latin-1")
    more = fields(
        method=scope["method"],
        path=path,
        status=status,
        seconds=round(seconds, 6),
        client=client[0] if client else "",
        user=scope.get("user", ""),
    )
    log.info("%s %s %d", scope["method"], path, status, extra=more)
