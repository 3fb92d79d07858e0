"""Logging and counting of the core's calls, with the id of the request that caused each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

import grpc

from sessiongate.core.grpc.interceptor import MethodHandler, behaving, behaviour_of
from sessiongate.core.metrics import CallMetrics
from sessiongate.runtime.auth.identity import caller
from sessiongate.runtime.telemetry.correlation import current, from_pairs
from sessiongate.runtime.telemetry.logs import fields

log = logging.getLogger("core.access")

Behaviour: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


class CallLog:
    """Logs and counts calls; must be the first interceptor, to see what others refuse."""

    def __init__(self, metrics: CallMetrics, *, access_log: bool) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def before(self, method: str, handler: MethodHandler) -> MethodHandler:
        behaviour = behaviour_of(handler)
        if handler.request_streaming or not iscoroutinefunction(behaviour):
            return handler  # generators are passed through
        seen = self._wrapped(method, behaviour, streams=handler.response_streaming)
        return behaving(handler, seen)

    def _wrapped(self, method: str, inner: Behaviour, *, streams: bool) -> Behaviour:
        async def observed(request: Any, context: Any) -> Any:
            current.set(from_pairs(context.invocation_metadata() or ()))
            began = time.perf_counter()
            code = "UNKNOWN"
            try:
                response = await inner(request, context)
                code = _code(context)
                return response
            except asyncio.CancelledError:
                left = context.time_remaining()
                late = left is not None and left <= 0
                code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
                raise
            except Exception:
                code = _code(context, "UNKNOWN")
                raise
            finally:
                self._record(method, code, time.perf_counter() - began, context, streams=streams)

        return observed

    def _record(self, method: str, code: str, took: float, context: Any, *, streams: bool) -> None:
        if streams:
            self._metrics.ended(method, code)
        else:
            self._metrics.answered(method, code, took)
        if self._access_log:
            identity = caller.get()
            more = fields(
                method=method,
                code=code,
                seconds=round(took, 6),
                peer=context.peer(),
                user=identity.name if identity else "",
            )
            log.info("%s %s", method, code, extra=more)


def _code(context: Any, default: str = "OK") -> str:
    """Return the status of a call; ``default`` if it is still the initial one, OK."""
    code = context.code()
    return str(code.name) if isinstance(code, grpc.StatusCode) and code.value[0] else default
